"""Write the output of the deployment verbs' dry runs into docs/deploy.md: python -m scripts.dry_runs."""

import os
import re
import shlex
import subprocess
import sys
import textwrap

from serving.model_store import ROOT

PAGE = ROOT / "docs" / "deploy.md"

# A console block that starts with a dry run.
_BLOCK = re.compile(r"```console\n\$ (DRY_RUN=1 make [^\n]+)\n.*?```\n", flags=re.DOTALL)


def main() -> None:
    """Update the page."""
    PAGE.write_text(refresh(PAGE.read_text()))
    print(f"dry runs: {PAGE}")


def refresh(page: str) -> str:
    """Return *page* with the current output of each `DRY_RUN=1 make …`."""
    return _BLOCK.sub(lambda block: f"```console\n$ {block[1]}\n{_run(block[1])}```\n", page)


def _run(command: str) -> str:
    # Runs the verb without make's installation of packages, and without the variables of a make around this.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    goal, *variables = shlex.split(command.removeprefix("DRY_RUN=1 make "))
    make = ["make", "--dry-run", "--old-file=.venv/.serve", goal, *variables, "VENV=.venv"]
    printed = subprocess.run(make, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    program, *arguments = shlex.split(printed.replace("\\\n", ""))
    if program != ".venv/bin/python":
        raise ValueError(f"make {goal} runs {program}, which has no dry run")
    environment["DRY_RUN"] = "1"
    verb = [sys.executable, *arguments]
    output = subprocess.run(verb, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    return "".join(_wrap(line) + "\n" for line in output.splitlines())


def _wrap(line: str) -> str:
    """Return *line* broken at spaces, with a backslash at the end of each line of up to 118 columns."""
    lines = textwrap.wrap(line, 116, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return " \\\n".join(lines)


if __name__ == "__main__":
    main()
