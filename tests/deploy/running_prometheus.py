"""A real Prometheus with the rules of deploy/monitoring, on a free port, that scrapes every second."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.server_process import free_ports
from tests.deploy.manifests import DEPLOY, read_yaml
from tests.deploy.started_process import wait_until_ready

MONITORING = DEPLOY / "monitoring"
_WAIT_S = 60

Result = list[tuple[dict[str, str], float]]


@dataclass(frozen=True)
class RunningPrometheus:
    url: str

    def ask(self, expression: str) -> Result:
        """Return labels and value of each series, without those that are not a number."""
        response = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30).raise_for_status()
        found = [(series["metric"], float(series["value"][1])) for series in response.json()["data"]["result"]]
        return [(labels, value) for labels, value in found if value == value]

    def wait_for(self, expression: str, is_right: Callable[[Result], bool] = bool) -> Result:
        """Return the result once it is right; fails with the last one."""
        deadline = time.monotonic() + _WAIT_S
        while not is_right(result := self.ask(expression)):
            assert time.monotonic() < deadline, (expression, result)
            time.sleep(0.5)
        return result

    def read_rules(self) -> list[dict[str, Any]]:
        groups = httpx.get(f"{self.url}/api/v1/rules", timeout=30).raise_for_status().json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def run_prometheus(folder: Path, targets: Mapping[str, int]) -> Iterator[RunningPrometheus]:
    """Run prometheus.yaml with the ports of *targets* by job, while the block runs."""
    config, port = read_yaml("monitoring/prometheus.yaml"), free_ports(1)[0]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(MONITORING / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{targets[job['job_name']]}"]}]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    command = [str(shutil.which("prometheus")), f"--config.file={folder}/prometheus.yaml"]
    command += [f"--storage.tsdb.path={folder}/samples", f"--web.listen-address=127.0.0.1:{port}"]
    with (
        (folder / "prometheus.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            prometheus = RunningPrometheus(f"http://127.0.0.1:{port}")
            log_path, ready = folder / "prometheus.log", f"{prometheus.url}/-/ready"
            wait_until_ready(process, ready, log_path, _WAIT_S, lambda answer: answer.status_code == 200)
            yield prometheus
        finally:
            process.terminate()
