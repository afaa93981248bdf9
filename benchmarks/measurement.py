"""What a benchmark does around its measurement: choose by name what is measured, end in one sentence if it fails."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from serving.interrupts import interrupt_once

_Measured = TypeVar("_Measured")


class BenchError(Exception):
    """Something cannot be measured."""


@contextmanager
def measuring(command: str) -> Iterator[None]:
    """Exit with one sentence if the block fails, with 130 after Ctrl-C or SIGTERM; its servers are stopped before."""
    interrupt_once()
    try:
        yield
    except (BenchError, OSError) as error:
        sys.exit(f"{command}: {error}")
    except KeyboardInterrupt:
        print(f"{command}: stopped, all servers too; nothing was written", file=sys.stderr)
        sys.exit(130)


def choose(measured: Sequence[_Measured], only: str, name: Callable[[_Measured], str]) -> list[_Measured]:
    """Return those of *measured* whose name holds the text *only*; raise `BenchError` if there are none."""
    kept = [one for one in measured if only.lower() in name(one).lower()]
    if not kept:
        names = "; ".join(dict.fromkeys(map(name, measured)))
        raise BenchError(f"--only {only!r} matches no name; the names are: {names}")
    return kept
