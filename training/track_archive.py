"""Keep a run's archive in the run's tracker: python -m training.track_archive runs/latest 1.1.0.

Only Weights & Biases keeps archives; for other trackers nothing happens.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from training.config import ConfigError
from training.run_folder import read_run_config
from training.trackers import build_tracker, track_archive


def main() -> None:
    """Keep the archive that the command line names."""
    parser = argparse.ArgumentParser(description="Keep a run's archive in Weights & Biases, if it tracked the run.")
    parser.add_argument("run", type=Path, help="the run's folder, for example runs/latest")
    parser.add_argument("version", help="the archive's, as 1.1.0")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the archive's folder (default: %(default)s)")
    asked = parser.parse_args()
    try:
        config = read_run_config(asked.run)
    except ConfigError as error:
        sys.exit(f"archive: {error}")
    if config.tracker.kind != "wandb":
        return
    archive = asked.out / f"{config.name}-{asked.version}.mar"
    if not archive.exists():
        sys.exit(f"archive: {archive} does not exist; make archive builds it")
    tracker = build_tracker(config.tracker, Path(config.logs) / config.id, config.id)
    track_archive(tracker, archive, config.name)
    Console().print(f"wandb   {archive.name} is an artifact of the run {config.id}", highlight=False)


if __name__ == "__main__":
    main()
