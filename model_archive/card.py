"""The model card: what people want to know before they serve an archive."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from handler.spec import Spec
from model_archive.candidates import REASON, Candidate, format_table


class CardRun(NamedTuple):
    """The run that an archive is made of, and what its spec does not say of it."""

    id: str
    digest: str
    data_licence: str | None = None
    candidates: Sequence[Candidate] = ()
    """What `make frontier` measured, of any runs."""


def write_card(path: Path, archive: Path, version: str, digest: str, spec: Spec, run: CardRun) -> None:
    """Write the Markdown card of *archive* to *path*."""
    sections = [
        f"# {spec.name} {version}",
        f"`{archive.name}`, {archive.stat().st_size:,} bytes, SHA-256 `{digest}`",
        _describe_model(spec, run),
        "## Accuracy\n\n"
        + _table("split", _join_intervals(spec), "not measured: this model was trained elsewhere")
        + ("\n\nIn brackets: 95 % intervals." if spec.intervals else ""),
        *_describe_cost(run),
        "## Engines\n\nCompared with the network in torch, float32.\n\n" + _table("engine", spec.engines, "none"),
        "## Intended use\n\n"
        f"To name what a photo of one subject shows, by one of {len(spec.labels)} labels. Logits are divided by a "
        f"temperature of {spec.temperature:g}; an answer is `confident` from a probability of {spec.threshold:g} on. "
        f"{_describe_unfamiliar(spec)}",
        "## Limits\n\n"
        "- Not for deciding whether something is safe to eat.\n"
        "- It knows its labels only: of anything else it names the label that looks most like it.\n"
        "- The figures hold for photos like those that they were measured on; other places, cameras and light may give "
        "lower ones.",
        f"## The {len(spec.labels)} labels\n\n{', '.join(spec.labels)}",
    ]
    path.write_text("\n\n".join(sections) + "\n")


def _describe_unfamiliar(spec: Spec) -> str:
    share = spec.metrics.get("val", {}).get("unfamiliar_share")
    if share is None:
        return ""
    return (
        f"A photo unlike those of the training is `unfamiliar`, and its labels mean nothing: the threshold calls "
        f"{share:.1%} of val so."
    )


def _describe_cost(run: CardRun) -> list[str]:
    """Return the section on the frontier; none where this run was not measured for it."""
    if run.id not in {found.run for found in run.candidates}:
        return []
    return [
        "## Accuracy and cost\n\n"
        f"This archive is made of the run {run.id}. CPU time is the network's alone, for one photo on one thread of "
        f"the machine that measured it. In bold: {REASON}.\n\n{format_table(run.candidates)}"
    ]


def _describe_model(spec: Spec, run: CardRun) -> str:
    how, origin = spec.preprocessing, spec.provenance
    seed = "none" if origin.seed is None else origin.seed
    return (
        "## Model\n\n"
        f"- Architecture: `{spec.architecture}` (timm)\n"
        f"- Input: {how.size}x{how.size} pixels, {how.interpolation}, central {how.crop:.1%} of the short side\n"
        f"- Weights: {origin.weights}\n"
        f"- Run: {run.id}, SHA-256 `{run.digest}`\n"
        f"- Data: {origin.data_digest or 'not recorded'}; licence: "
        f"{origin.data_licence or run.data_licence or 'not recorded'}\n"
        f"- Code revision: {origin.code_revision or 'not recorded'}; seed: {seed}"
    )


def _join_intervals(spec: Spec) -> dict[str, dict[str, float | str]]:
    """Return the metrics by split, followed by their intervals where they have one."""
    rows: dict[str, dict[str, float | str]] = {split: dict(figures) for split, figures in spec.metrics.items()}
    for split, intervals in spec.intervals.items():
        for name, (low, high) in intervals.items():
            rows[split][name] = f"{format_figure(rows[split][name])} ({low:.3f} to {high:.3f})"
    return rows


def _table(what: str, rows: Mapping[str, Mapping[str, float | str]], empty: str) -> str:
    if not rows:
        return empty
    columns = sorted({column for row in rows.values() for column in row})
    cells = [[what, *columns], ["---"] * (len(columns) + 1)]
    cells += [[name, *(format_figure(row.get(column)) for column in columns)] for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def format_figure(value: float | str | None) -> str:
    """Return *value* with at most four digits; a text as it is, None as an empty text."""
    return "" if value is None else value if isinstance(value, str) else f"{value:.4g}"
