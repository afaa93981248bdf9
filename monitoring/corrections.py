"""What people say is right, collected into a folder to train with: python -m monitoring.corrections FOLDER --from CSV.

Prints what was refused, and the accuracy by version, week and label of the photos that people looked at.
"""

import argparse
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from handler.problem import Problem
from model_archive.identity import ArchiveError, read_identity
from model_archive.storage import RegistryError
from monitoring.correction import Correction, CorrectionError, clean_photo, photo_name
from monitoring.correction_folder import add_correction, latest_corrections, read_corrections, write_manifest
from monitoring.correction_sources import FoundCorrection, Refused, read_source

_NUM_SHOWN = 10
_ARCHIVES = (Path("build"), Path("model_archive/default"))
_MAX_AHEAD = timedelta(days=1)


class Accuracy(NamedTuple):
    photos: int
    share: float
    """Of the photos that were answered correctly. People rather correct than confirm, so it is a lower bound."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Collect corrections, show accuracy, write a manifest to train with.")
    parser.add_argument("folder", type=Path, help="where they are kept")
    parser.add_argument(
        "--from", dest="sources", nargs="*", default=[], help="a .csv, a folder, gs://bucket/prefix, or none: show only"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    try:
        for source in options.sources:
            added, refused = collect(options.folder, read_source(source))
            _show_refused(refused)
            print(f"{source}: {added:,} new, {len(refused):,} refused")
        corrections = read_corrections(options.folder)
        if not corrections:
            raise CorrectionError(f"{options.folder} has no correction yet; INBOX=… names where to collect them from")
        manifest = write_manifest(options.folder, latest_corrections(corrections))
    except (CorrectionError, OSError) as error:
        sys.exit(f"corrections: {error}")
    _show(latest_corrections(corrections))
    print(f"manifest: {manifest}")


def collect(folder: Path, found: Iterable[FoundCorrection | Refused]) -> tuple[int, list[Refused]]:
    """Add what was *found* and is new to *folder*; return the number of new corrections, and what was refused.

    A later correction of a photo replaces the earlier one in the manifest; corrections.jsonl keeps both. Raises
    `CorrectionError` or `OSError`.
    """
    stored: dict[str, list[Correction]] = defaultdict(list)
    for correction in read_corrections(folder):
        stored[correction.digest].append(correction)
    num_added, refused = 0, []
    for item in found:
        if isinstance(item, Refused):
            refused.append(item)
            continue
        correction = msgspec.structs.replace(item.correction, photo=photo_name(item.correction.digest))
        if _is_known(correction, stored[correction.digest]):
            continue
        try:
            # A correction from the future would be the latest one until then.
            if correction.time > datetime.now(UTC) + _MAX_AHEAD:
                time = f"{correction.time:%Y-%m-%d %H:%M}"
                raise CorrectionError(f"its time, {time}, is in the future; check the sender's clock")
            # It comes from outside: decoded within the limits of serving, and compressed again.
            photo = None if (folder / correction.photo).exists() else clean_photo(item.read_photo())
        except (CorrectionError, Problem, RegistryError) as error:
            refused.append(Refused(item.place, str(error)))
            continue
        add_correction(folder, correction, photo)
        stored[correction.digest].append(correction)
        num_added += 1
    return num_added, refused


def _is_known(correction: Correction, stored: Sequence[Correction]) -> bool:
    """Return whether *correction* says nothing new beside those *stored* of its photo, oldest first."""
    # A row of a CSV file has no time: collected again, it must not undo what was said since.
    repeatable = stored if correction.source == "csv" else stored[-1:]
    return any(correction.repeats(one) for one in repeatable) or any(correction.time < one.time for one in stored[-1:])


def known_labels(folders: Iterable[Path]) -> frozenset[str]:
    """Return the labels of all archives in *folders*."""
    labels: set[str] = set()
    for archive in (path for folder in folders for path in folder.glob("*.mar")):
        try:
            labels.update(read_identity(archive).spec.labels)
        except (ArchiveError, OSError) as error:
            logging.getLogger(__name__).warning("the labels of %s are not known: %s", archive, error)
    return frozenset(labels)


def measure_accuracy(corrections: Iterable[Correction], name: Callable[[Correction], str]) -> dict[str, Accuracy]:
    """Return the accuracy of the answers to the corrected photos, by what *name* gives for each."""
    rights: dict[str, list[bool]] = defaultdict(list)
    for correction in corrections:
        if correction.answer:
            rights[name(correction)].append(correction.answer == correction.label)
    return {key: Accuracy(len(found), sum(found) / len(found)) for key, found in sorted(rights.items())}


def _show(corrections: Sequence[Correction]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    by_week = measure_accuracy(corrections, lambda one: f"{one.version or 'unknown'}, {one.time:%G-W%V}")
    by_label = measure_accuracy(corrections, lambda one: one.label)
    worst = sorted(by_label.items(), key=lambda row: row[1].share * row[1].photos - row[1].photos)[:_NUM_SHOWN]
    for title, rows in (("version and week", by_week.items()), ("label, most errors first", worst)):
        table = Table(title, "photos that people looked at", "answered correctly")
        for key, accuracy in rows:
            table.add_row(escape(key), f"{accuracy.photos:,}", f"{accuracy.share:.0%}")
        if rows:
            console.print(table)
    known = known_labels(_ARCHIVES)
    new = Counter(one.label for one in corrections if one.label not in known)
    if new:
        listed = ", ".join(f"{label} ({count})" for label, count in new.most_common())
        console.print(f"labels that no version has: {listed}", markup=False)


def _show_refused(refused: Sequence[Refused]) -> None:
    for place, reason in refused[:_NUM_SHOWN]:
        print(f"refused: {place}: {reason}")
    if len(refused) > _NUM_SHOWN:
        print(f"and {len(refused) - _NUM_SHOWN:,} more")


if __name__ == "__main__":
    main()
