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
    PAGE.write_text(refresh(PAGE.read_text()))
    print(f"dry runs: {PAGE}")


def refresh(page: str) -> str:
    """Return *page* with the current output of each `DRY_RUN=1 make …`."""
    return _BLOCK.sub(lambda block: f"```console\n$ {block[1]}\n{_run(block[1])}```\n", page)


def _run(command: str) -> str:
    """Run make without its installation of packages, and without the variables of a make around this."""
    outside = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in outside}
    dry_run, make, *arguments = shlex.split(command)
    make_here = [make, f"--old-file={sys.prefix}/.serve", f"VENV={sys.prefix}", dry_run, *arguments]
    done = subprocess.run(make_here, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    wrap = textwrap.TextWrapper(116, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False).wrap
    return "".join(" \\\n".join(wrap(line)) + "\n" for line in done.stdout.splitlines())


if __name__ == "__main__":
    main()
