"""A run as Markdown: the figures to reach, everyone side by side, and every load."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from benchmarks.plan import CAPACITY, ONE_CLIENT
from benchmarks.reach import measure_goals
from benchmarks.results import CEILING, DEFAULT, Row, Run, Scene, Spread, Visit

NONE = "-"


def format_report(run: Run) -> str:
    """Return the whole report."""
    seconds = f"{run.seconds:g} s a load, longer where a server is slow"
    parts = [
        f"# Benchmark of {run.date}",
        f"{_describe_machine(run)}\n"
        f"Medians of {run.rounds} interleaved round{'s' if run.rounds > 1 else ''} (least to greatest); {seconds}. "
        f"Load generator: {_describe_tools(run)}, on the same cores.",
        "## Figures to reach",
        _format_goals(run),
        f"## Side by side: {CAPACITY.name}",
        _format_overview(run),
        "With fewer cores fruity has no more workers than cores. A p95 takes 20 right answers and a p99 takes 100: "
        f"where there were fewer it is {NONE}. CPU time is shared among all right answers, also those that came after "
        "the load's end.",
        "## Every load: photos/s, p50 / p95 / p99 in ms",
        _format_loads(run),
        "## Errors",
        _format_errors(run),
    ]
    return "\n\n".join(parts) + "\n"


def rows_of(run: Run) -> list[Row]:
    """Return everyone, in the order of the first visits."""
    return list(dict.fromkeys(visit.row for visit in run.visits))


def visits_of(run: Run, row: Row) -> list[Visit]:
    return [visit for visit in run.visits if visit.row == row]


def scenes_of(run: Run, row: Row, name: str) -> list[Scene]:
    return [scene for visit in visits_of(run, row) for scene in visit.scenes if scene.name == name]


def describe_row(run: Run, row: Row) -> str:
    """Return what stands at the start of the row's line."""
    name, way, archive, cores = row
    text = name if way in (name, CEILING) else f"{name}, {way}"
    text += "" if archive == DEFAULT else f", {archive}"
    return text if cores == run.machine.cores else f"{text}, {cores} core{'s' if cores > 1 else ''}"


def spread_of(scenes: Sequence[Scene], value: Callable[[Scene], float | None]) -> Spread | None:
    return Spread.of(value(scene) for scene in scenes)


def format_spread(spread: Spread | None, digits: int = 1) -> str:
    """Return the median with the extremes, or the median alone where there is one round."""
    if spread is None:
        return NONE
    if spread.low == spread.high:
        return f"{spread.median:.{digits}f}"
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


def format_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, all columns but the first to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def _format_goals(run: Run) -> str:
    lines = []
    for goal, spread in measure_goals(run):
        verdict = NONE if spread is None else "yes" if goal.is_met(spread) else "**no**"
        lines.append([goal.what, goal.reach, format_spread(spread, 2), verdict])
    return format_table(["what", "reach", "measured", "reached"], lines)


def _format_overview(run: Run) -> str:
    head = ["", "photos/s", "p50 ms", "p99 ms", "CPU ms a photo", "one client, p50 ms", "PSS MB", "first answer s"]
    lines = []
    for row in rows_of(run):
        busy, alone = (scenes_of(run, row, loading.name) for loading in (CAPACITY, ONE_CLIENT))
        visits = visits_of(run, row)
        lines.append(
            [
                describe_row(run, row),
                format_spread(spread_of(busy, lambda scene: scene.photos_per_s), 0),
                format_spread(spread_of(busy, lambda scene: scene.p50_ms)),
                format_spread(spread_of(busy, lambda scene: scene.p99_ms)),
                format_spread(spread_of(busy, lambda scene: scene.cpu_ms_per_photo), 2),
                format_spread(spread_of(alone, lambda scene: scene.p50_ms)),
                format_spread(Spread.of(visit.pss_mb for visit in visits), 0),
                format_spread(Spread.of(visit.start_s for visit in visits)),
            ]
        )
    return format_table(head, lines)


def _format_loads(run: Run) -> str:
    names = list(dict.fromkeys(scene.name for visit in run.visits for scene in visit.scenes))
    lines = [
        [describe_row(run, row), *(_format_load(scenes_of(run, row, name)) for name in names)] for row in rows_of(run)
    ]
    return format_table(["", *names], lines)


def _format_load(scenes: Sequence[Scene]) -> str:
    speed = spread_of(scenes, lambda scene: scene.photos_per_s)
    if speed is None:
        return NONE
    latencies = (
        spread_of(scenes, lambda scene: scene.p50_ms),
        spread_of(scenes, lambda scene: scene.p95_ms),
        spread_of(scenes, lambda scene: scene.p99_ms),
    )
    times = " / ".join(NONE if one is None else f"{one.median:.1f}" for one in latencies)
    return f"{speed.median:.0f}, {times}"


def _format_errors(run: Run) -> str:
    lines = [
        f"- {describe_row(run, row)}: {text}" for row in rows_of(run) for text in _list_errors(visits_of(run, row))
    ]
    return "\n".join(lines) or "None: every answer had status 200 and the right label."


def _list_errors(visits: Sequence[Visit]) -> Iterator[str]:
    yield from (f"round {visit.round + 1} not measured, {visit.failure}" for visit in visits if visit.failure)
    errors: Counter[str] = Counter()
    for visit in visits:
        for scene in visit.scenes:
            errors.update({f"{kind} ({scene.name})": count for kind, count in scene.errors.items()})
    yield from (f"{count} times {kind}" for kind, count in errors.items())


def _describe_machine(run: Run) -> str:
    machine = run.machine
    cores = f"{machine.cores} cores" + (f" ({', '.join(machine.instruction_sets)})" if machine.instruction_sets else "")
    return f"{machine.cpu}, {cores}, {machine.memory_gb:g} GB, {machine.system}."


def _describe_tools(run: Run) -> str:
    tools = {scene.tool for visit in run.visits for scene in visit.scenes if "open loop" not in scene.name}
    closed = "wrk" if "wrk" in tools else "Python (wrk is not installed)"
    return f"{closed} for the closed loops, Python for the open ones"
