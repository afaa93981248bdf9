"""Say whether the photos that were served have drifted from those of val: python -m monitoring.drift --help.

Exits with 0 for no drift, 3 for drift, and 2 where it cannot be said.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from handler.prediction_log import LoggedPrediction
from monitoring.drift_level import CANNOT_SAY, DRIFT, FALSE_ALARMS_A_WEEK, LOOKS_A_WEEK
from monitoring.drift_verdict import embed_reference, judge_window
from monitoring.prediction_windows import PredictionLog, cut_windows, read_log, read_time
from monitoring.watched_model import CannotSayError, WatchedModel, read_watched_model

# With fewer photos only the greatest changes are seen.
_MIN_WINDOW = 50
_MAX_SHOWN = 100
_WEEK_S = 7 * 24 * 3600


def main() -> None:
    asked = _parse_arguments()
    try:
        model = read_watched_model(asked.archive)
        log = read_log(asked.log, model.version)
        windows = _cut(log, asked.window, model)
        shown = windows[-_MAX_SHOWN:] if asked.report else windows[-1:]
        reference_MR = embed_reference(model)
        verdicts = [judge_window(photos, model, reference_MR) for photos in shown]
    except CannotSayError as error:
        print(f"cannot say: {error}", file=sys.stderr)
        sys.exit(CANNOT_SAY)
    notes = list_notes(log, windows, model)
    print(*notes, sep="\n")
    if asked.report:
        from monitoring.drift_report import render_drift_report  # Matplotlib is slow to import

        photos_folder = (asked.log if asked.log.is_dir() else asked.log.parent) / "photos"
        page = render_drift_report(model, verdicts, notes, photos_folder)
        try:
            asked.report.write_text(page, encoding="utf-8")
            print(f"report: {asked.report}")
        except OSError as error:
            print(f"no report: {asked.report} cannot be written ({error.strerror})", file=sys.stderr)
    print(verdicts[-1].explain())
    sys.exit(DRIFT if verdicts[-1].drifted else 0)


def list_notes(log: PredictionLog, windows: Sequence[Sequence[LoggedPrediction]], model: WatchedModel) -> list[str]:
    """Return what was compared, and what of the log was skipped or is odd."""
    latest = windows[-1]
    start, end = read_time(latest[0]), read_time(latest[-1])
    notes = [
        f"fruity {model.version}: the latest of {len(windows)} windows of {len(latest)} photos, "
        f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    ]
    if log.num_other_versions:
        notes.append(f"{log.num_other_versions:,} photos of other versions are skipped")
    if log.num_unreadable:
        notes.append(f"{log.num_unreadable:,} lines are skipped: cut off, or of another schema")
    if log.num_jumps:
        notes.append(f"the clock went back {log.num_jumps:,} times: windows are by time, so some may mix photos")
    span_s = (end - read_time(windows[0][0])).total_seconds()
    if span_s > _WEEK_S and (looks := len(windows) * _WEEK_S / span_s) > LOOKS_A_WEEK:
        size = len(latest) * looks / LOOKS_A_WEEK
        notes.append(
            f"{looks:,.0f} windows a week: the promise of {FALSE_ALARMS_A_WEEK:.0%} false alarms a week is for "
            f"{LOOKS_A_WEEK}, so use --window {size:.0f}"
        )
    return notes


def _cut(log: PredictionLog, size: int, model: WatchedModel) -> list[Sequence[LoggedPrediction]]:
    if not log.photos and log.num_other_versions:
        raise CannotSayError(
            f"all {log.num_other_versions:,} photos of the log are of other versions than the archive's "
            f"{model.version}; name the archive that serves"
        )
    if not (windows := cut_windows(log.photos, size)):
        raise CannotSayError(
            f"the log has {len(log.photos):,} photos of version {model.version}, a window needs {size}; "
            "wait for more, or use a smaller --window"
        )
    return windows


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.drift",
        description="Compare the latest window of the prediction log with the archive's drift reference.",
        epilog="Exits with 0 for no drift, 3 for drift, and 2 where it cannot be said.",
    )
    parser.add_argument("--archive", type=Path, required=True, help="the archive that answered")
    parser.add_argument("--log", type=Path, required=True, help="a file of the prediction log, or its folder")
    parser.add_argument(
        "--window", type=_parse_window, default=200, help="photos that are compared (default: %(default)s)"
    )
    parser.add_argument("--report", type=Path, help="write a page with plots here")
    return parser.parse_args()


def _parse_window(text: str) -> int:
    if not text.isdecimal() or int(text) < _MIN_WINDOW:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of photos from {_MIN_WINDOW} on")
    return int(text)


if __name__ == "__main__":
    main()
