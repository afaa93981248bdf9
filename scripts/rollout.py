"""Bring a new version to a running server without losing a request: python -m scripts.rollout 1.1.0."""

import argparse
from pathlib import Path

from serving.rollout.canary import find_front
from serving.rollout.command import add_server_options, run_rollout
from serving.rollout.judge import THRESHOLDS, read_thresholds
from serving.rollout.rollout import Options
from serving.rollout.source import add_source_options, find_archive, verify


def main() -> None:
    """Roll out what the command line asks for; exits with 1 and a sentence once all is rolled back."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.rollout",
        description="Bring a new version to the running server: load it beside the old one, ask both the same photos, "
        "give it a share of live traffic where there is a front, let it answer, watch it, unregister the old one once "
        "it is empty. What fails on the way is undone.",
    )
    parser.add_argument("version", help="as 1.1.0")
    parser.add_argument(
        "--archive", type=Path, help="its file (default: fruity-<version>.mar of the registry or build/)"
    )
    add_source_options(parser)
    parser.add_argument("--shadow", type=Path, help="a folder of recent photos to ask both versions")
    parser.add_argument("--thresholds", type=Path, default=THRESHOLDS, help="YAML file (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the old version registered: costs its memory")
    parser.add_argument("--allow-lower", action="store_true", help="also if the version is lower than what serves")
    add_server_options(parser)
    arguments = parser.parse_args()

    def fetch(store: Path) -> Path:
        if arguments.archive is not None:
            return verify(arguments.archive, arguments.public_key)
        return find_archive(arguments.version, store, arguments.registry, arguments.public_key)

    front = find_front(arguments.config)
    options = Options(arguments.version, arguments.keep, arguments.allow_lower, arguments.shadow, front)
    run_rollout(
        "rollout", arguments, options, lambda rollout: rollout.run(fetch, read_thresholds(arguments.thresholds))
    )


if __name__ == "__main__":
    main()
