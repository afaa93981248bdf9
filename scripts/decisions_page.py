"""Write the list of decisions, docs/decisions/README.md: python -m scripts.decisions_page."""

from pathlib import Path

from serving.model_store import ROOT

FOLDER = ROOT / "docs" / "decisions"
PAGE = FOLDER / "README.md"

_HEAD = """# Decisions

Why fruity is as it is: a page for each choice between alternatives, with what was measured. `make docs` writes this
list.

"""


def main() -> None:
    PAGE.write_text(draw(FOLDER))
    print(f"decisions: {PAGE}")


def draw(folder: Path) -> str:
    """Return the page that links each decision of *folder*, by the title in its first line."""
    decisions = sorted(folder.glob("[0-9]*.md"))
    titles = (path.read_text().splitlines()[0].removeprefix("# ") for path in decisions)
    lines = [f"- [{title}]({path.name})" for title, path in zip(titles, decisions, strict=True)]
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
