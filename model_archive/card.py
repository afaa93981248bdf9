"""The model card: what people want to know before they serve an archive."""

from collections.abc import Mapping
from pathlib import Path

from handler.spec import Spec


def write_card(path: Path, archive: Path, version: str, digest: str, spec: Spec) -> None:
    """Write the Markdown card of *archive* to *path*."""
    sections = [
        f"# {spec.name} {version}",
        f"`{archive.name}`, {archive.stat().st_size:,} bytes, SHA-256 `{digest}`",
        _describe_model(spec),
        "## Accuracy\n\n"
        + _table("split", _join_intervals(spec), "not measured: this model was trained elsewhere")
        + ("\n\nIn brackets: 95 % intervals." if spec.intervals else ""),
        "## Engines\n\nCompared with the network in torch, float32.\n\n" + _table("engine", spec.engines, "none"),
        "## Use\n\n"
        f"For photos of one subject. Logits are divided by a temperature of {spec.temperature:g}; an answer is "
        f"`confident` from a probability of {spec.threshold:g} on. "
        f"{_describe_unfamiliar(spec)}Not for deciding whether something is safe to eat.",
        f"## The {len(spec.labels)} labels\n\n{', '.join(spec.labels)}",
    ]
    path.write_text("\n\n".join(sections) + "\n")


def _describe_unfamiliar(spec: Spec) -> str:
    share = spec.metrics.get("val", {}).get("unfamiliar_share")
    if share is None:
        return ""
    return (
        f"A photo unlike those of the training is `unfamiliar`, and its labels mean nothing: the threshold calls "
        f"{share:.1%} of val so. "
    )


def _describe_model(spec: Spec) -> str:
    how, origin = spec.preprocessing, spec.provenance
    seed = "none" if origin.seed is None else origin.seed
    return (
        "## Model\n\n"
        f"- Architecture: `{spec.architecture}` (timm)\n"
        f"- Input: {how.size}x{how.size} pixels, {how.interpolation}, central {how.crop:.1%} of the short side\n"
        f"- Weights: {origin.weights}\n"
        f"- Data: {origin.data_digest or 'not recorded'}\n"
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
