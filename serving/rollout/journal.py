"""A rollout while it runs: its steps live on the terminal, and as one line in the model store afterwards."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from serving.rollout.record import append_history, now


class Journal:
    """Collects the steps of one rollout."""

    def __init__(self, store: Path, console: Console, verb: str, version: str) -> None:
        self.console = console
        self.failed: str | None = None
        """The first step that failed."""
        self._store = store
        self._line: dict[str, Any] = {"time": now(), "verb": verb, "from": None, "to": version, "steps": []}

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[dict[str, Any]]:
        """Show that *doing* is under way, and when it is done its seconds and the figures put into the dict."""
        figures: dict[str, Any] = {}
        started = time.monotonic()
        mark = "[red]✗[/]"
        try:
            with self.console.status(f"{name}: {doing} …"):
                yield figures
            mark = "[green]✓[/]"
        except BaseException:
            self.failed = self.failed or name
            raise
        finally:
            seconds = time.monotonic() - started
            self._line["steps"].append({"step": name, "seconds": round(seconds, 3), **figures})
            text = ", ".join(f"{key} {value}" for key, value in figures.items())
            self.console.print(f"{mark} {name:10} {seconds:6.1f} s  {text or doing}", highlight=False, soft_wrap=True)

    def leave(self, version: str) -> None:
        """Note which version served before."""
        self._line["from"] = version

    def note(self, text: str) -> None:
        self._line.setdefault("notes", []).append(text)
        self.console.print(f"  {text}", highlight=False, soft_wrap=True)

    def close(self, outcome: str, reason: str | None = None) -> None:
        """Write the line; a full disk is no reason to call a rollout failed."""
        try:
            append_history(self._store, {**self._line, "outcome": outcome, "reason": reason})
        except OSError as error:
            self.note(f"not recorded: {error}")
