"""A setting of TorchServe's workers, and what it reaches on this machine."""

import dataclasses
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from benchmarks.contenders import CONTENDERS, Place, start
from benchmarks.entries import BenchError, configure
from benchmarks.load import run_closed
from benchmarks.photos import MIDDLE
from benchmarks.plan import CAPACITY, ONE_CLIENT
from benchmarks.visits import START_S, Photos

# Of the fastest: what a small noisy machine does not tell apart.
_EQUAL_SHARE = 0.97
_WARM_UP_S = 1.0


@dataclass(frozen=True)
class Setting:
    workers: int
    threads: int
    """Of each worker."""
    batch: int
    delay_ms: int

    def __str__(self) -> str:
        return f"workers {self.workers}, threads {self.threads}, batch {self.batch}, delay {self.delay_ms} ms"

    @classmethod
    def read(cls, config: Mapping[str, Any], cores: int) -> Self:
        """Return the setting that model-config.yaml holds; threads left out are a worker's share of the cores."""
        workers = int(config["minWorkers"])
        threads = config.get("fruity", {}).get("threads") or max(1, cores // workers)
        return cls(workers, threads, int(config["batchSize"]), int(config["maxBatchDelay"]))

    def apply(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return *config* with this setting."""
        return {
            **config,
            "minWorkers": self.workers,
            "maxWorkers": self.workers,
            "batchSize": self.batch,
            "maxBatchDelay": self.delay_ms,
            "fruity": {**config.get("fruity", {}), "threads": self.threads},
        }


@dataclass(frozen=True)
class Figures:
    photos_per_s: float
    """At 16 clients."""
    p99_ms: float
    one_client_ms: float
    """The p50 of one client alone."""

    @classmethod
    def median(cls, seen: Sequence["Figures"]) -> Self:
        return cls(*(statistics.median(values) for values in zip(*map(dataclasses.astuple, seen), strict=True)))


def vary(setting: Setting, name: str, cores: int) -> list[Setting]:
    """Return *setting* with every value of its field *name* that is worth a try on *cores* cores."""
    values: Iterable[int] = {
        "batch": (1, 2, 4, 8),
        "delay_ms": (1, 2, 4),
        "workers": {max(1, cores // 2), cores, cores + max(1, cores // 2)},
        "threads": {1, max(1, cores // setting.workers), cores},
    }[name]
    if name == "delay_ms" and setting.batch == 1:
        # A batch of one waits for nobody.
        values = (1,)
    return [dataclasses.replace(setting, **{name: value}) for value in sorted({*values, getattr(setting, name)})]


def choose(measured: Mapping[Setting, Figures]) -> Setting:
    """Return, of the settings that are as fast as the fastest under load, the one that answers one client soonest."""
    enough = _EQUAL_SHARE * max(figures.photos_per_s for figures in measured.values())
    fast = {setting: figures for setting, figures in measured.items() if figures.photos_per_s >= enough}
    return min(fast, key=lambda setting: fast[setting].one_client_ms)


@dataclass(frozen=True)
class SettingTrial:
    """Measures settings of the archive in *place*."""

    place: Place
    photos: Photos
    template: Path
    seconds: float

    def measure(self, setting: Setting) -> Figures:
        """Return what a TorchServe with *setting* reaches; raise `ServerError`, `WrkError` or `BenchError`."""
        with tempfile.TemporaryDirectory(prefix="fruity-tune-") as scratch:
            folder = Path(scratch)
            config = setting.apply(yaml.safe_load(self.template.read_text()))
            place = configure(self.place, config, folder)
            with start(CONTENDERS[0], place, folder) as (server, target):
                photos = self.photos[MIDDLE]
                server.wait_for_answer(target, photos[0], START_S)
                run_closed(target, photos, CAPACITY.clients, _WARM_UP_S)
                one = run_closed(target, photos, ONE_CLIENT.clients, self.seconds)
                many = run_closed(target, photos, CAPACITY.clients, self.seconds)
        if one.num_errors or many.num_errors:
            raise BenchError(f"{setting} gave errors: {dict(one.errors) | dict(many.errors)}")
        return Figures(many.photos_per_s, many.percentile_ms(99), one.percentile_ms(50))
