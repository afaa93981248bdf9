"""Bring the next version from drift or corrections to the running server: python -m scripts.loop DATA CORRECTIONS."""

import argparse
import os
import sys
from pathlib import Path

from handler.spec import SpecError
from model_archive.archive_registry import RegistryError
from model_archive.identity import ArchiveError
from monitoring.correction import CorrectionError
from monitoring.loop_commands import LoopCommands
from monitoring.loop_steps import Loop, print_plan, run_loop
from monitoring.loop_thresholds import THRESHOLDS, LoopError, NothingToDo, read_loop_thresholds
from scripts.versions import add_config_option
from serving.management import ManagementError, open_server
from serving.model_store import ROOT

_FAILURES = (LoopError, CorrectionError, ManagementError, ArchiveError, RegistryError, SpecError, OSError)


def main() -> None:
    asked = _parse_arguments()
    try:
        loop = _read_loop(asked)
        if os.environ.get("DRY_RUN", "0") not in ("", "0"):
            print_plan(loop)
            return
        print(f"loop: {run_loop(loop)}")
    except NothingToDo as reason:
        print(f"loop: nothing to do: {reason}")
    except _FAILURES as error:
        sys.exit(f"loop: {error}")
    except KeyboardInterrupt:
        sys.exit("loop: interrupted; start it again to go on from here")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.loop",
        description="Where there is drift, or enough corrections: train the next version, compare it with the one that "
        "serves, roll it out. Asks a person before training and before the rollout, unless YES=1; DRY_RUN=1 prints the "
        "commands. Each loop is a line of build/loop/loops.jsonl.",
    )
    parser.add_argument("data", help="the photos of the version that serves, as for make train")
    parser.add_argument("corrections", type=Path, help="a folder of make corrections")
    parser.add_argument("--log", type=Path, help="the prediction log, to look for drift (default: corrections only)")
    parser.add_argument("--experiment", default="quick", help="of training/conf/experiment (default: %(default)s)")
    parser.add_argument("--thresholds", type=Path, default=THRESHOLDS, help="YAML file (default: %(default)s)")
    parser.add_argument("--archive", type=Path, help="compare with this one, stop before the rollout; needs no server")
    parser.add_argument("--registry", help="a folder or gs://bucket/prefix: its versions are not chosen again")
    parser.add_argument("--signing-key", type=Path, help="sign the new archive with it")
    parser.add_argument("--public-key", type=Path, help="for the rollout: refuse an archive that it does not verify")
    parser.add_argument("--shadow", type=Path, help="for the rollout: a folder of recent photos")
    parser.add_argument("--rollout-thresholds", type=Path, help="for the rollout: serving/rollout/thresholds.yaml")
    add_config_option(parser)
    parser.add_argument("overrides", nargs="*", help="more of training's configuration, as recipe.epochs=3")
    return parser.parse_intermixed_args()


def _read_loop(asked: argparse.Namespace) -> Loop:
    options = {"--shadow": asked.shadow, "--thresholds": asked.rollout_thresholds, "--public-key": asked.public_key}
    options["--config"] = asked.config
    commands = LoopCommands(
        data=asked.data,
        corrections=asked.corrections,
        log=asked.log,
        experiment=asked.experiment,
        training=asked.overrides,
        building=["--signing-key", str(asked.signing_key)] if asked.signing_key else [],
        rolling_out=[text for name, value in options.items() if value for text in (name, str(value))],
    )
    return Loop(
        commands=commands,
        thresholds=read_loop_thresholds(asked.thresholds),
        serving=asked.archive or _find_serving(asked.config),
        confirm=_confirm,
        rolls_out=asked.archive is None,
        registry=asked.registry,
    )


def _find_serving(config: Path) -> Path:
    """Return the archive that the running server serves; raise `ManagementError`."""
    with open_server(config, ROOT) as server:
        return server.store / Path(server.management.describe().model_url).name


def _confirm(question: str) -> None:
    if os.environ.get("YES", "0") not in ("", "0"):
        print(f"{question} YES=1 says so")
    elif not sys.stdin.isatty():
        raise LoopError(f"{question} Standard input is not a terminal; YES=1 says yes to every question")
    elif input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise LoopError("a person said no")


if __name__ == "__main__":
    main()
