"""What the container's processes use of the machine, read when Prometheus asks: CPU, memory, disk, files."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from handler.engine import count_cpus
from serving.container.health import Health
from serving.container.resources import count_oom_kills, read_memory, read_throttled_s

_KINDS = ("supervisor", "nginx", "java", "worker", "other")


class ProcessMetrics(Collector):
    """Reads this process and all below it, by kind."""

    def __init__(self, health: Health, run_folder: Path) -> None:
        self._health, self._run_folder = health, run_folder
        self._cpu_s = 0.0

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of now; a process that ends meanwhile is left out."""
        used_bytes, limit_bytes = read_memory()
        disk = shutil.disk_usage(self._run_folder)
        ready, queued = not self._health.unready_reason, self._health.queued_requests
        yield from self._collect_processes()
        yield GaugeMetricFamily("fruity_ready", "1 if the last golden sample got its known label.", ready)
        yield GaugeMetricFamily("fruity_queued_requests", "Requests that wait for a worker, every 5 s.", queued)
        yield GaugeMetricFamily("fruity_cpus", "CPUs that the container may use.", count_cpus())
        yield CounterMetricFamily("fruity_cpu_throttled_seconds", "Time that a CPU limit took.", read_throttled_s())
        yield GaugeMetricFamily("fruity_memory_used_bytes", "Memory in use, without the cache of files.", used_bytes)
        yield GaugeMetricFamily("fruity_memory_limit_bytes", "The container's limit, or the machine's.", limit_bytes)
        yield CounterMetricFamily("fruity_oom_kills", "Processes killed for lack of memory.", count_oom_kills())
        yield GaugeMetricFamily("fruity_disk_free_bytes", "Free space of the run folder.", disk.free)
        yield GaugeMetricFamily("fruity_disk_bytes", "Size of the run folder's disk.", disk.total)

    def _collect_processes(self) -> Iterator[Metric]:
        processes, files, memory_bytes = (Counter(dict.fromkeys(_KINDS, 0)) for _ in range(3))
        cpu_s = 0.0
        for process in (own := psutil.Process(), *own.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                kind = kind_of(process, own)
                # Children that have ended are in the times of the parent that waited for them.
                cpu_s += sum(process.cpu_times()[:4])
                memory_bytes[kind] += process.memory_full_info().pss
                files[kind] += process.num_fds()
                processes[kind] += 1
        # A process that ends while it is read would lower the sum, which Prometheus takes for a restart.
        self._cpu_s = max(self._cpu_s, cpu_s)
        yield CounterMetricFamily("fruity_cpu_seconds", "CPU time of all processes.", self._cpu_s)
        yield _by_kind("fruity_processes", "Processes.", processes)
        yield _by_kind("fruity_process_memory_bytes", "Memory of the processes, shared pages once (PSS).", memory_bytes)
        yield _by_kind("fruity_open_files", "Open files and connections.", files)


def kind_of(process: psutil.Process, supervisor: psutil.Process) -> str:
    """Return what *process* is among those below *supervisor*: one of the metrics' label `kind`."""
    if process == supervisor:
        return "supervisor"
    name: str = process.name()
    if name in _KINDS:
        return name
    return "worker" if any(part.endswith("model_service_worker.py") for part in process.cmdline()) else "other"


def _by_kind(name: str, text: str, values: "Counter[str]") -> Metric:
    family = GaugeMetricFamily(name, text, labels=["kind"])
    for kind, value in values.items():
        family.add_metric([kind], value)
    return family
