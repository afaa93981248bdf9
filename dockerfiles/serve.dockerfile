# The serving image: TorchServe behind nginx, a supervisor as PID 1 (docs/container.md). `make image` builds it.
#   BASE     a Python slim image; name it by its digest for a reproducible build
#   DEVICE   cpu: OpenVINO and no torch; cuda: torch, whose wheels bring CUDA (the machine brings the driver)
#   ARCHIVE  the archive's path without its ending; copied are the .mar, its card and its signature
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG DEVICE=cpu
WORKDIR /build
COPY pyproject.toml requirements.lock ./
COPY scripts/prepare_venv.py scripts/
COPY serving/java.py serving/torch_shim.py serving/
RUN python -m scripts.prepare_venv "$([ "$DEVICE" = cuda ] && echo cuda || echo registry)" --venv /opt/fruity
COPY dockerfiles/serve/slim.sh ./
RUN sh slim.sh /opt/fruity "$DEVICE"

WORKDIR /fruity
COPY config.properties log4j2.xml pyproject.toml ./
COPY docs/openapi.yaml docs/
COPY handler handler
COPY model_archive/*.py model_archive/
COPY monitoring monitoring
COPY scripts scripts
COPY serving serving
COPY dockerfiles/serve/*.conf dockerfiles/serve/*.js dockerfiles/serve/
COPY dockerfiles/serve/api_page dockerfiles/serve/api_page
ARG ARCHIVE=model_archive/default/fruity-1.0.0
COPY ${ARCHIVE}.* model_archive/default/
# The root file system is read-only at run time, so Python's bytecode is compiled now.
RUN python -m compileall -q .

FROM ${BASE}
# pip is removed: only pinned packages are installed.
# hadolint ignore=DL3008  # Debian's updates are wanted, and it does not keep old versions
RUN apt-get update \
 && apt-get install -y --no-install-recommends nginx libnginx-mod-http-js \
 && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* \
 && python -c "import pip, shutil; shutil.rmtree(pip.__path__[0])" \
 && rm -f /usr/bin/pip* /usr/local/bin/pip*
COPY --from=build /opt/fruity /opt/fruity
COPY --from=build /fruity /fruity

ARG REVISION=unknown
ARG VERSION=unknown
ARG ARCHIVE_DIGEST=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="fruity" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      fruity.archive.sha256="${ARCHIVE_DIGEST}"

ENV PATH=/opt/fruity/bin:$PATH \
    PORT=8080 \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# A user without an entry in /etc/passwd; the root file system may be read-only, only /tmp is written to.
USER 10001:10001
WORKDIR /fruity
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "serving.container.healthcheck"]
ENTRYPOINT ["python", "-m", "serving.container.supervisor"]
