# Training and building archives, on CPUs or GPUs:
#   docker build --file dockerfiles/train.dockerfile --tag fruity-train .
#   docker run --rm --volume "$PWD/photos:/fruity/data/photos:ro" --volume "$PWD/runs:/fruity/runs" fruity-train \
#     training.train data.source=data/photos experiment=quick
# For GPUs PyPI's torch brings its CUDA libraries: add `--gpus all` to the run. For CPUs alone a build without them
# saves gigabytes: --build-arg TORCH_INDEX=<an index with CPU wheels>.
ARG BASE=python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE}
ARG TORCH_INDEX=""
WORKDIR /fruity
# First the files that decide the packages, so that a change of code does not install them again.
COPY pyproject.toml requirements.lock ./
COPY scripts/prepare_venv.py scripts/
COPY serving/java.py serving/torch_shim.py serving/
RUN python -m scripts.prepare_venv train --venv /opt/fruity ${TORCH_INDEX:+--torch-index "${TORCH_INDEX}"}
COPY handler handler
COPY model_archive model_archive
COPY monitoring monitoring
COPY scripts scripts
COPY serving serving
COPY training training
COPY config.properties ./
RUN useradd --uid 10001 --create-home trainer && mkdir -p runs build data logs \
    && chown trainer runs build data logs
USER 10001
ENV PATH=/opt/fruity/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["python", "-m"]
CMD ["training.train", "--help"]
