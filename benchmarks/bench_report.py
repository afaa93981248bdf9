"""A run as Markdown: the targets, all contenders side by side, and every load."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.bench_results import CEILING, DEFAULT, Row, Run, Spread, Trial
from benchmarks.scenarios import CAPACITY, ONE_CLIENT
from benchmarks.targets import measure_targets

NONE = "-"

# Head, scenario, figure and digits of the columns that come from a scenario.
_COLUMNS = (
    ("photos/s", CAPACITY, "photos_per_s", 0),
    ("p50 ms", CAPACITY, "p50_ms", 1),
    ("p99 ms", CAPACITY, "p99_ms", 1),
    ("CPU ms a photo", CAPACITY, "cpu_ms_per_photo", 2),
    ("one client, p50 ms", ONE_CLIENT, "p50_ms", 1),
)


def format_report(run: Run) -> str:
    """Return the whole report."""
    machine = run.machine
    sets = f" ({', '.join(machine.instruction_sets)})" if machine.instruction_sets else ""
    uses_wrk = any(result.tool == "wrk" for trial in run.trials for result in trial.results)
    closed = "wrk" if uses_wrk else "Python (wrk is not installed)"
    rounds = f"{run.rounds} interleaved round{'s' if run.rounds > 1 else ''}"
    errors = [f"- {describe_row(run, row)}: {text}" for row in run.rows() for text in _list_errors(run.trials_of(row))]
    parts = [
        f"# Benchmark of {run.date}",
        f"{machine.cpu}, {machine.cores} cores{sets}, {machine.memory_gb:g} GB, {machine.system}.\n"
        f"Medians of {rounds} (least to greatest); {run.seconds:g} s a load, longer where a server is slow. "
        f"Load generator: {closed} for the closed loops, Python for the open ones, on the same cores.",
        "## Numbers to reach",
        _format_targets(run),
        f"## Side by side: {CAPACITY.name}",
        _format_overview(run),
        "With fewer cores fruity has no more workers than cores. A p95 takes 20 right answers and a p99 takes 100: "
        f"where there were fewer it is {NONE}. CPU time is shared among all right answers, also those that came after "
        "the load's end.",
        "## Every load: photos/s, p50 / p95 / p99 in ms",
        _format_loads(run),
        "## Errors",
        "\n".join(errors) or "None: every answer had status 200 and the right label.",
    ]
    return "\n\n".join(parts) + "\n"


def describe_row(run: Run, row: Row) -> str:
    """Return the first cell of the row's line."""
    text = row.name if row.way in (row.name, CEILING) else f"{row.name}, {row.way}"
    text += "" if row.archive == DEFAULT else f", {row.archive}"
    return text if row.cores == run.machine.cores else f"{text}, {row.cores} core{'s' if row.cores > 1 else ''}"


def format_spread(spread: Spread | None, digits: int = 1) -> str:
    """Return the median with the extremes, or the median alone where there is one round."""
    if spread is None:
        return NONE
    median, low, high = (f"{value:.{digits}f}" for value in spread)
    return median if spread.low == spread.high else f"{median} ({low} to {high})"


def format_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, all columns but the first to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def _format_targets(run: Run) -> str:
    lines = []
    for what, target, spread in measure_targets(run):
        verdict = NONE if spread is None else "yes" if target.is_reached(spread) else "**no**"
        lines.append([what, f"{target.sign} {target.bound:g}", format_spread(spread, 2), verdict])
    return format_table(["what", "target", "measured", "reached"], lines)


def _format_overview(run: Run) -> str:
    lines = []
    for row in run.rows():
        cells = [format_spread(run.spread_of(row, load.name, figure), digits) for _, load, figure, digits in _COLUMNS]
        pss_mb = Spread.of(trial.pss_mb for trial in run.trials_of(row))
        start_s = Spread.of(trial.start_s for trial in run.trials_of(row))
        lines.append([describe_row(run, row), *cells, format_spread(pss_mb, 0), format_spread(start_s)])
    return format_table(["", *(head for head, *_ in _COLUMNS), "PSS MB", "first answer s"], lines)


def _format_loads(run: Run) -> str:
    names = list(dict.fromkeys(result.name for trial in run.trials for result in trial.results))
    lines = [[describe_row(run, row), *(_format_load(run, row, name) for name in names)] for row in run.rows()]
    return format_table(["", *names], lines)


def _format_load(run: Run, row: Row, scenario: str) -> str:
    speed = run.spread_of(row, scenario, "photos_per_s")
    latencies = [run.spread_of(row, scenario, f"p{percent}_ms") for percent in (50, 95, 99)]
    texts = [f"{one.median:.1f}" if one else NONE for one in latencies]
    return f"{speed.median:.0f}, {' / '.join(texts)}" if speed else NONE


def _list_errors(trials: Sequence[Trial]) -> Iterator[str]:
    yield from (f"round {trial.round + 1} not measured, {trial.failure}" for trial in trials if trial.failure)
    errors: Counter[str] = Counter()
    for result in (result for trial in trials for result in trial.results):
        errors.update({f"{kind} ({result.name})": count for kind, count in result.errors.items()})
    yield from (f"{count} times {kind}" for kind, count in errors.items())
