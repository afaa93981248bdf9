"""A real nginx with deploy/balancer/fruity.conf, for given hosts."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.manifests import DEPLOY
from tests.deploy.started_process import wait_until_ready

_NAMES = ("fruity-a:8080", "fruity-b:8080")
_START_S = 10
_MAIN = """
daemon off;
{user}
pid {folder}/nginx.pid;
worker_processes 1;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  log_format hosts '$time_iso8601 $status $request_time $upstream_addr $upstream_status $upstream_response_time';
  access_log {folder}/access.log hosts;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/unused;
  uwsgi_temp_path {folder}/unused;
  scgi_temp_path {folder}/unused;
  include {folder}/fruity.conf;
}}
"""


@contextmanager
def run_balancer(folder: Path, port: int, hosts: tuple[str, str]) -> Iterator[str]:
    """Balance between *hosts*, `address:port`, while the block runs; yields the URL, on the caller's loopback."""
    config = (DEPLOY / "balancer" / "fruity.conf").read_text()
    for name, host in zip(_NAMES, hosts, strict=True):
        assert config.count(f"server {name} ") == 2
        config = config.replace(f"server {name} ", f"server {host} ")
    assert config.count("listen 80;") == 1
    (folder / "fruity.conf").write_text(config.replace("listen 80;", f"listen 127.0.0.1:{port};"))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))
    command = ["/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            # Also that it reaches no host is an answer.
            wait_until_ready(process, f"{url}/readyz", folder / "error.log", _START_S)
            yield url
        finally:
            process.terminate()
