"""Draw the diagrams of docs/how_it_works.md: python -m scripts.diagrams."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from serving.model_store import ROOT

FOLDER = ROOT / "docs"

_COLUMNS = 4
_WIDTH, _HEIGHT, _GAP, _MARGIN = 180, 84, 46, 12
# For a picture of its own in a page: it follows the reader's light or dark mode.
_STYLE = """
  text { font: 14px system-ui, sans-serif; text-anchor: middle; fill: #222; }
  .note { font-size: 12px; fill: #555; }
  rect { fill: #fbeceb; stroke: #a3211b; }
  path { stroke: #777; fill: none; marker-end: url(#head); }
  #head path { fill: #777; stroke: none; marker-end: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #eee; } .note { fill: #bbb; } rect { fill: #33201f; stroke: #ff8a80; }
    path { stroke: #aaa; } #head path { fill: #aaa; }
  }
"""
_HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z"/></marker>'
)


class Step(NamedTuple):
    name: str
    notes: tuple[str, ...]
    """Lines below the name."""


class Diagram(NamedTuple):
    alt: str
    steps: Sequence[Step]
    is_cycle: bool = False
    """Whether the last step leads to the first one."""


DIAGRAMS = {
    "how_a_model": Diagram(
        "From photos to an answer, and from corrections to the next version",
        [
            Step("photos", ("a folder for each label,", "a CSV or a bucket")),
            Step("run", ("make train: weights,", "spec.json, report")),
            Step("archive", ("make archive: handler,", "engine, golden samples")),
            Step("registry", ("make publish: signed,", "never changed")),
            Step("server", ("make serve, make rollout:", "TorchServe")),
            Step("answers", ("labels, probabilities,", "heatmaps")),
            Step("drift and corrections", ("prediction log,", "words of people")),
            Step("loop", ("make loop: trains with", "them, compares")),
        ],
        is_cycle=True,
    ),
    "how_a_photo": Diagram(
        "The way of one photo through the server",
        [
            Step("reverse proxy", ("in the container: limits,", "keys, retries")),
            Step("request", ("one photo, a form", "or JSON")),
            Step("decode", ("limits, EXIF,", "upright RGB")),
            Step("preprocess", ("crop and resize as", "in training")),
            Step("engine", ("OpenVINO on CPUs,", "torch on GPUs")),
            Step("familiarity", ("how far from the", "train photos")),
            Step("answer", ("labels, or a", "problem document")),
            Step("monitor", ("metrics and", "prediction log")),
        ],
    ),
    "how_a_rollout": Diagram(
        "The steps of a rollout; a failure at any of them restores the old version",
        [
            Step("fetch", ("digest, and the", "signature with a key")),
            Step("load", ("beside the version", "that serves")),
            Step("labels", ("which ones go", "and come")),
            Step("compare", ("golden samples and", "shadow photos to both")),
            Step("canary", ("in the container: a", "share of the traffic")),
            Step("promote", ("the new version", "becomes the default")),
            Step("watch", ("errors and latency", "of live traffic")),
            Step("drain", ("the old version ends", "without a request")),
        ],
    ),
}


def main() -> None:
    for name, diagram in DIAGRAMS.items():
        (FOLDER / f"{name}.svg").write_text(draw(diagram))
    print(f"diagrams: {', '.join(f'{name}.svg' for name in DIAGRAMS)} in {FOLDER}")


def draw(diagram: Diagram) -> str:
    """Return *diagram* as SVG: rows of steps from left to right and back, with arrows between them."""
    rows = -(-len(diagram.steps) // _COLUMNS)
    width = 2 * _MARGIN + _COLUMNS * (_WIDTH + _GAP) - _GAP
    height = 2 * _MARGIN + rows * (_HEIGHT + _GAP) - _GAP
    drawn = [*_draw_steps(diagram.steps), *_draw_arrows(len(diagram.steps), is_cycle=diagram.is_cycle)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{escape(diagram.alt)}</title>\n<style>{_STYLE}</style>\n<defs>{_HEAD}</defs>\n"
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _draw_steps(steps: Sequence[Step]) -> Iterator[str]:
    for index, step in enumerate(steps):
        left, top = _place(index)
        yield f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'
        middle = left + _WIDTH // 2
        yield f'<text x="{middle}" y="{top + 27}" font-weight="bold">{escape(step.name)}</text>'
        for line, note in enumerate(step.notes):
            yield f'<text x="{middle}" y="{top + 48 + 17 * line}" class="note">{escape(note)}</text>'


def _draw_arrows(num_steps: int, *, is_cycle: bool) -> Iterator[str]:
    ends = [(index, index + 1) for index in range(num_steps - 1)]
    for start, end in [*ends, *([(num_steps - 1, 0)] if is_cycle else [])]:
        (x1, y1), (x2, y2) = _place(start), _place(end)
        middle = _HEIGHT // 2
        if x1 == x2:
            top, bottom = (y1 + _HEIGHT, y2) if y2 > y1 else (y1, y2 + _HEIGHT)
            yield f'<path d="M{x1 + _WIDTH // 2} {top}V{bottom}"/>'
        elif x2 > x1:
            yield f'<path d="M{x1 + _WIDTH} {y1 + middle}H{x2}"/>'
        else:
            yield f'<path d="M{x1} {y1 + middle}H{x2 + _WIDTH}"/>'


def _place(index: int) -> tuple[int, int]:
    """Return left and top of a step; every other row runs from right to left."""
    row, column = divmod(index, _COLUMNS)
    if row % 2:
        column = _COLUMNS - 1 - column
    return _MARGIN + column * (_WIDTH + _GAP), _MARGIN + row * (_HEIGHT + _GAP)


if __name__ == "__main__":
    main()
