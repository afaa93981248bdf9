"""What the verbs that publish and fetch share: a bar for each file, and how they end."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from model_archive.entry_store import Report

_INTERRUPTED = 128 + signal.SIGINT
_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
)


@contextmanager
def exit_on_failure(name: str, *failures: type[Exception]) -> Iterator[None]:
    """Exit with one line after one of *failures* or Ctrl-C; *name* begins it."""
    try:
        yield
    except failures as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"\n{name}: stopped; the same command resumes it", file=sys.stderr)
        sys.exit(_INTERRUPTED)


@contextmanager
def show_transfers() -> Iterator[Report]:
    """Draw a bar for each file on a terminal; without a terminal, print nothing."""
    console = Console(stderr=True)
    with Progress(*_COLUMNS, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, num_done: int, num_bytes: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=num_bytes)
            progress.update(tasks[what], completed=num_done)

        yield report
