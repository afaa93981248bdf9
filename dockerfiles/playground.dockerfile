# The web page to try a server (playground/); deploy/compose.yaml starts it beside one.
#   BASE  a Python slim image; name it by its digest for a reproducible build
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
WORKDIR /fruity
COPY pyproject.toml requirements.lock ./
COPY scripts/prepare_venv.py scripts/
COPY serving/java.py serving/torch_shim.py serving/
RUN python -m scripts.prepare_venv playground --venv /opt/fruity
COPY client client
COPY handler handler
COPY model_archive/*.py model_archive/
COPY monitoring monitoring
COPY playground playground
RUN python -m compileall -q . && useradd --uid 10001 fruity
USER 10001
# Where the server takes no corrections, they are gone with the container.
ENV PYTHONPATH=/fruity:/fruity/client CORRECTIONS=/tmp/corrections HOME=/tmp
EXPOSE 8501
# The second address is the one that it prints; without it Streamlit would ask a service on the internet for its own.
CMD ["/opt/fruity/bin/streamlit", "run", "playground/app.py", "--server.address=0.0.0.0", "--browser.serverAddress=localhost"]
