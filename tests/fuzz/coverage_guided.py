"""Properties with inputs that Atheris chooses by the lines they reach: python -m tests.fuzz.coverage_guided.

An input that breaks a property, crashes the process, takes longer than a worker may or 2 GB is kept in build/fuzz, and
shown again by `--property NAME --input FILE`.
"""

import argparse
import importlib
import logging
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

_OUT = Path(__file__).parents[2] / "build" / "fuzz"
# Half of model-config.yaml's responseTimeout: a batch has more than one request.
_MAX_SECONDS = 15
_MAX_MB = 2048
_OURS = ["handler", "model_archive", "monitoring", "PIL", "zipfile", "python_multipart"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz by coverage; exits with 1 if an input was found.")
    parser.add_argument("--minutes", type=float, default=10, help="for all properties together (default: 10)")
    parser.add_argument("--property", help="only this one, in this process")
    parser.add_argument("--input", type=Path, help="a file of build/fuzz: run the property with it, once")
    given = parser.parse_args()
    if given.property:
        fuzz(given.property, given.minutes, given.input, _OUT)
    names = list(find_properties())
    found = [name for name in names if not _run_alone(name, given.minutes / len(names))]
    print(f"{len(names)} properties, {len(found)} broken{': ' if found else ''}{', '.join(found)}")
    sys.exit(1 if found else 0)


def find_properties() -> dict[str, Callable[[bytes], Any]]:
    """Return by name what runs each property of one input of Atheris."""
    found: dict[str, Callable[[bytes], Any]] = {}
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for name, tested in vars(importlib.import_module(f"tests.fuzz.{file.stem}")).items():
            if hasattr(tested, "hypothesis"):
                found[name] = tested.hypothesis.fuzz_one_input
    return found


def _run_alone(name: str, minutes: float) -> bool:
    """Return whether no input broke the property; a crash of a decoder would end this process."""
    print(f"\n{name}: {minutes * 60:.0f} s", flush=True)
    command = [sys.executable, "-m", "tests.fuzz.coverage_guided", "--property", name, "--minutes", str(minutes)]
    return subprocess.run(command, check=False).returncode == 0


def fuzz(name: str, minutes: float, once: Path | None, out: Path) -> NoReturn:
    """Run the property until the time is over, or with the file *once*; ends the process. Finds are kept in *out*."""
    import atheris

    logging.disable()
    # One input needs no coverage.
    instrumented = nullcontext() if once else atheris.instrument_imports(include=_OURS, enable_loader_override=False)
    with instrumented:
        run = find_properties()[name]
    corpus = out / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={max(1, round(minutes * 60))}", f"-timeout={_MAX_SECONDS}", f"-rss_limit_mb={_MAX_MB}"]
    options += [f"-artifact_prefix={out}/{name}-", "-max_len=8192", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *([str(once)] if once else [*options, str(corpus)])], run)
    atheris.Fuzz()
    raise AssertionError("Atheris ends the process")


if __name__ == "__main__":
    main()
