"""Write what the deployment verbs would run into docs/deploy.md: python -m scripts.dry_runs."""

import os
import re
import shlex
import subprocess
import sys

from serving.model_store import ROOT

PAGE = ROOT / "docs" / "deploy.md"

# A console block that starts with a dry run, up to its end.
_BLOCK = re.compile(r"```console\n\$ (DRY_RUN=1 make [^\n]+)\n.*?```\n", flags=re.DOTALL)


def main() -> None:
    """Rewrite the page's dry runs."""
    PAGE.write_text(renew(PAGE.read_text()))
    print(f"dry runs: {PAGE}")


def renew(page: str) -> str:
    """Return *page* with the output of each `DRY_RUN=1 make …` below it."""
    return _BLOCK.sub(lambda block: f"```console\n$ {block.group(1)}\n{_run(block.group(1))}```\n", page)


def _run(command: str) -> str:
    # The verb itself, without the packages that make would install first, and nothing of a make that runs this.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    goal, *variables = shlex.split(command.removeprefix("DRY_RUN=1 make "))
    make = ["make", "--dry-run", "--old-file=.venv/.serve", goal, *variables, "VENV=.venv"]
    printed = subprocess.run(make, cwd=ROOT, env=outside, capture_output=True, text=True, check=True).stdout
    program, *arguments = shlex.split(printed.replace("\\\n", ""))
    if program != ".venv/bin/python":
        raise ValueError(f"make {goal} runs {program}, which knows no dry run")
    command_line = [sys.executable, *arguments]
    dry = {**outside, "DRY_RUN": "1"}
    done = subprocess.run(command_line, cwd=ROOT, env=dry, capture_output=True, text=True, check=True)
    return "".join(_wrap(line) for line in done.stdout.splitlines())


def _wrap(line: str) -> str:
    """Return *line* with a line break before what would run over 116 columns."""
    lines = [""]
    for word in line.split(" "):
        if len(lines[-1]) + len(word) > 114 and lines[-1].strip():
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
