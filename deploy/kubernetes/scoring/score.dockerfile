# The image of `make score` on a Ray cluster (docs/score.md), with the committed archives.
#   docker build --file deploy/kubernetes/scoring/score.dockerfile --tag fruity-score .
ARG BASE=python:3.11-slim-bookworm
# hadolint ignore=DL3006
FROM ${BASE}
# KubeRay's probes are commands of bash and wget.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
WORKDIR /fruity
COPY pyproject.toml requirements.lock ./
COPY scripts/prepare_venv.py scripts/
COPY serving/java.py serving/torch_shim.py serving/
RUN python -m scripts.prepare_venv scale --venv /opt/fruity
COPY handler handler
COPY model_archive model_archive
COPY scoring scoring
COPY scripts scripts
COPY serving serving
RUN python -m compileall -q . && useradd --uid 10001 --create-home fruity
USER 10001
ENV PATH=/opt/fruity/bin:$PATH PYTHONPATH=/fruity PYTHONUNBUFFERED=1
CMD ["python", "-m", "scripts.score", "--help"]
