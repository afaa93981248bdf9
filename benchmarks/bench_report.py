"""A run as Markdown, with the targets, all contenders side by side and every load; and as a picture."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

from matplotlib.axes import Axes

from benchmarks.bench_results import CEILING, DEFAULT, Run, Trial, read_rounds
from benchmarks.contenders import EAGER_CEILING
from benchmarks.markdown_page import format_table
from benchmarks.scenarios import CAPACITY, ONE_CLIENT, PHONE_CLIENT, Scenario
from benchmarks.svg_plot import ACCENT, BLACK, draw_svg

_NONE = "-"
_COLOURS = {"fruity": ACCENT, "same engine": "#4c6ef5", "usual way": "#adb5bd", CEILING: BLACK}

# What `Trial.figure` takes.
_SPEED, _CPU_MS = (CAPACITY.name, "photos_per_s"), (CAPACITY.name, "cpu_ms_per_photo")
_P99_MS, _ONE_CLIENT_MS = (CAPACITY.name, "p99_ms"), (ONE_CLIENT.name, "p50_ms")
_START_S, _PSS_MB = ("", "start_s"), ("", "pss_mb")

# Head, figure and digits.
_COLUMNS = (
    ("photos/s", _SPEED, 0),
    ("p50 ms", (CAPACITY.name, "p50_ms"), 1),
    ("p99 ms", _P99_MS, 1),
    ("CPU ms a photo", _CPU_MS, 2),
    ("one client, p50 ms", _ONE_CLIENT_MS, 1),
    ("PSS MB", _PSS_MB, 0),
    ("first answer s", _START_S, 1),
)


class Target(NamedTuple):
    """One of the numbers to reach (ARCHITECTURE.md)."""

    what: str
    sign: Literal["≥", "≤"]
    bound: float
    figure: tuple[str, str]  # fruity's, as `Trial.figure` takes it
    beside: tuple[str, str] | None = None  # the name and the way of what it is divided by


_CEILING, _FASTAPI, _LITSERVE = ("", CEILING), ("FastAPI", "same engine"), ("LitServe", "same engine")
_ONE_CLIENT = "one client, p50, of FastAPI's with the same engine (fruity's busy worker on all cores, FastAPI's on one)"
_START = "start to the first right answer, of FastAPI's with the same engine"
_PHONE = "12-megapixel photo, one client, CPU ms of the ceiling's"
# For every archive; the others are for the default one.
_BESIDE_FASTAPI = Target("photos/s, of FastAPI with the same engine", "≥", 1.05, _SPEED, _FASTAPI)
_TARGETS = (
    Target("CPU ms a photo, of the ceiling's", "≤", 1.08, _CPU_MS, _CEILING),
    _BESIDE_FASTAPI,
    Target("p99, of FastAPI's with the same engine", "≤", 0.5, _P99_MS, _FASTAPI),
    Target("photos/s, of LitServe with the same engine", "≥", 1.3, _SPEED, _LITSERVE),
    *(
        Target(f"photos/s, of {name} in its usual way, over (ceiling / eager)", "≥", 0.9, _SPEED, (name, "usual way"))
        for name in ("FastAPI", "LitServe", "BentoML", "Ray Serve")
    ),
    Target(_ONE_CLIENT, "≤", 1.0, _ONE_CLIENT_MS, _FASTAPI),
    Target(_START, "≤", 1.2, _START_S, _FASTAPI),
    Target("memory of all processes, PSS in MB", "≤", 450, _PSS_MB),
    Target(_PHONE, "≤", 1.25, (PHONE_CLIENT.name, "cpu_ms_per_photo"), _CEILING),
)


def format_report(run: Run) -> str:
    machine = run.machine
    sets = f" ({', '.join(machine.instruction_sets)})" if machine.instruction_sets else ""
    rounds = f"{run.rounds} interleaved round{'s' if run.rounds > 1 else ''}"
    errors = [f"- {_describe_row(run, row)}: {text}" for row in run.rows() for text in _list_errors(row)]
    parts = [
        f"# Benchmark of {run.date}",
        f"{machine.cpu}, {machine.cores} cores{sets}, {machine.memory_gb:g} GB, {machine.system}.\n"
        f"Medians of {rounds} (least to greatest); {run.seconds:g} s a load, longer where a server is slow. "
        "The load generator shares the cores.",
        "## Numbers to reach",
        _format_targets(run),
        f"## Side by side: {CAPACITY.name}",
        _format_overview(run),
        "With fewer cores fruity has no more workers than cores. A p95 takes 20 right answers and a p99 takes 100: "
        f"where there were fewer it is {_NONE}. CPU time is shared among all right answers, also those that came after "
        "the load's end.",
        "## Every load: photos/s, p50 / p95 / p99 in ms",
        _format_loads(run),
        "## Errors",
        "\n".join(errors) or "None: every answer had status 200 and the right label.",
    ]
    return "\n\n".join(parts) + "\n"


def _describe_row(run: Run, row: Sequence[Trial]) -> str:
    """Return the first cell of the row's line."""
    name, way, archive, cores = row[0].name, row[0].way, row[0].archive, row[0].cores
    text = name if way in (name, CEILING) else f"{name}, {way}"
    text += "" if archive == DEFAULT else f", {archive}"
    return text if cores == run.machine.cores else f"{text}, {cores} core{'s' if cores > 1 else ''}"


def _format_rounds(rounds: Sequence[float], digits: int) -> str:
    """Return the median with the extremes, or the median alone where there is one round."""
    if not rounds:
        return _NONE
    middle, low, high = (f"{value:.{digits}f}" for value in (median(rounds), min(rounds), max(rounds)))
    return middle if min(rounds) == max(rounds) else f"{middle} ({low} to {high})"


def measure_targets(run: Run) -> Iterator[tuple[str, Target, list[float]]]:
    """Yield what each target measures, the target, and its figure of each round that measured it."""
    for archive in dict.fromkeys([DEFAULT, *(trial.archive for trial in run.trials)]):
        trials = [trial for trial in run.trials if (trial.archive, trial.cores) == (archive, run.machine.cores)]
        rounds = [[trial for trial in trials if trial.round == number] for number in range(run.rounds)]
        for target in _TARGETS if archive == DEFAULT else [_BESIDE_FASTAPI]:
            what = target.what if archive == DEFAULT else f"{target.what}, {archive}"
            figures = [_compute(target, trials) for trials in rounds]
            yield what, target, [figure for figure in figures if figure is not None]


def _compute(target: Target, trials: Sequence[Trial]) -> float | None:
    """Return what the *trials* of a round measured for *target*, None if a figure that it needs is missing."""
    measured = {(trial.name, trial.way): trial.figure(*target.figure) for trial in trials}
    # A rate of 0 and a latency without answers are not measurements.
    figures = {row: figure for row, figure in measured.items() if figure}
    ceilings = [figure for (_, way), figure in figures.items() if way == CEILING]
    try:
        ours = figures["fruity", "fruity"]
        if target.beside is None:
            return ours
        if target.beside == _CEILING:
            return ours / min(ceilings)
        ratio = ours / figures[target.beside]
        if target.beside[1] == "same engine":
            return ratio
        # Relative to what the engine alone gives over eager PyTorch.
        return ratio / (max(ceilings) / figures[EAGER_CEILING.name, CEILING])
    except (KeyError, ValueError):
        return None


def _format_targets(run: Run) -> str:
    lines = []
    for what, target, rounds in measure_targets(run):
        verdict = _NONE
        if rounds:
            distance = median(rounds) - target.bound
            verdict = "yes" if (distance >= 0 if target.sign == "≥" else distance <= 0) else "**no**"
        lines.append([what, f"{target.sign} {target.bound:g}", _format_rounds(rounds, 2), verdict])
    return format_table(["what", "target", "measured", "reached"], lines)


def _format_overview(run: Run) -> str:
    lines = [
        [
            _describe_row(run, row),
            *(_format_rounds(read_rounds(row, *figure), digits) for _, figure, digits in _COLUMNS),
        ]
        for row in run.rows()
    ]
    return format_table(["", *(head for head, *_ in _COLUMNS)], lines)


def _format_loads(run: Run) -> str:
    names = list(dict.fromkeys(result.name for trial in run.trials for result in trial.results))
    lines = [[_describe_row(run, row), *(_format_load(row, name) for name in names)] for row in run.rows()]
    return format_table(["", *names], lines)


def _format_load(row: Sequence[Trial], scenario: str) -> str:
    speed, *latencies = [read_rounds(row, scenario, name) for name in ("photos_per_s", "p50_ms", "p95_ms", "p99_ms")]
    texts = [f"{median(rounds):.1f}" if rounds else _NONE for rounds in latencies]
    return f"{median(speed):.0f}, {' / '.join(texts)}" if speed else _NONE


def _list_errors(trials: Sequence[Trial]) -> Iterator[str]:
    yield from (f"round {trial.round + 1} not measured, {trial.failure}" for trial in trials if trial.failure)
    errors: Counter[str] = Counter()
    for result in (result for trial in trials for result in trial.results):
        errors.update({f"{kind} ({result.name})": count for kind, count in result.errors.items()})
    yield from (f"{count} times {kind}" for kind, count in errors.items())


def draw_plot(run: Run, path: Path) -> None:
    on_all_cores = [row for row in run.rows() if row[0].cores == run.machine.cores and read_rounds(row, *_SPEED)]
    rows = sorted(on_all_cores, key=lambda row: median(read_rounds(row, *_SPEED)))
    rounds = f"medians of {run.rounds} interleaved round{'s' if run.rounds > 1 else ''}, lines from least to greatest"
    caption = f"{run.date} · {run.machine.cpu}, {run.machine.cores} cores · {rounds}"
    with draw_svg(path, (11, 1.9 + 0.36 * len(rows)), columns=2, sharey=True) as (speed, latency):
        _draw_bars(speed, run, rows, CAPACITY, "photos_per_s")
        _draw_bars(latency, run, rows, ONE_CLIENT, "p50_ms")
        speed.set_title("photos a second, 16 clients (more is better)")
        latency.set_title("median milliseconds, one client (less is better)")
        title = "fruity and its peers, 512x512 JPEG"
        speed.figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
        speed.figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color="#495057")


def _draw_bars(axes: Axes, run: Run, rows: Sequence[Sequence[Trial]], scenario: Scenario, figure: str) -> None:
    for y, row in enumerate(rows):
        rounds = read_rounds(row, scenario.name, figure)
        middle = median(rounds or [0.0])
        axes.barh(_describe_row(run, row), middle, color=_COLOURS[row[0].way], height=0.72)
        if rounds:
            axes.plot([min(rounds), max(rounds)], [y, y], color="black", linewidth=1)
            text = f"{middle:.{1 if middle < 100 else 0}f}"
            axes.annotate(text, (max(rounds), y), xytext=(5, 0), textcoords="offset points", va="center")
    axes.margins(x=0.14)
    axes.spines[["left", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(visible=True, color="#e9ecef")
    axes.set_axisbelow(True)
