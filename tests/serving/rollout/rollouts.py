"""A rollout on a server in memory, and what it leaves in the store."""

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from serving.management import Server
from serving.rollout.archive import read_archive
from serving.rollout.journal import Journal
from serving.rollout.judge import Thresholds
from serving.rollout.rollout import Options, Rollout


def roll_out(server: Server, thresholds: Thresholds, archive: Path, **options: Any) -> str:
    """Roll *archive* out and return what was shown."""
    shown = io.StringIO()
    journal = Journal(server.store, Console(file=shown, width=200), "rollout", archive.stem[7:])
    try:
        Rollout(server, Options(archive.stem[7:], **options), journal).run(lambda store: archive, thresholds)
    finally:
        journal.close("ended")
    return shown.getvalue()


def served_at_start(store: Path) -> str:
    return read_archive(store / "fruity.mar").version


def history(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store / "rollouts.jsonl").read_text().splitlines()]
