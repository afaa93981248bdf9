"""Bring a new version to a running server without losing a request: python -m scripts.rollout 1.1.0."""

import argparse
from pathlib import Path

from scripts.versions import add_config_option, add_source_options, exit_with_reason
from serving.management import open_server
from serving.model_store import ROOT, Source
from serving.rollout.label_change import read_label_map
from serving.rollout.steps import roll_out
from serving.rollout.thresholds import THRESHOLDS, read_thresholds
from serving.rollout.traffic import find_proxy


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.rollout",
        description="Bring a new version to the running server: load it beside the old one, send both the same photos, "
        "send it a share of live traffic where there is a reverse proxy, make it the default, watch it, unregister the "
        "old one once it has no request left. What fails on the way is undone.",
    )
    parser.add_argument("version", help="as 1.1.0")
    parser.add_argument("--archive", type=Path, help="default: fruity-<version>.mar of the registry or build/")
    add_source_options(parser)
    parser.add_argument("--shadow", type=Path, help="a folder of recent photos to send to both versions")
    parser.add_argument(
        "--label-map", type=Path, help="YAML file: labels of the old version, each with those that mean the same now"
    )
    parser.add_argument("--thresholds", type=Path, default=THRESHOLDS, help="YAML file (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the old version registered: costs its memory")
    parser.add_argument("--allow-lower", action="store_true", help="also if the version is lower than the one served")
    add_config_option(parser)
    asked = parser.parse_args()
    source, proxy = Source(asked.archive, asked.registry, asked.public_key), find_proxy(asked.config)
    options = {name: getattr(asked, name) for name in ("shadow", "keep", "allow_lower")}
    with exit_with_reason("rollout"), open_server(asked.config, ROOT) as server:
        label_map = read_label_map(asked.label_map) if asked.label_map else None
        thresholds = read_thresholds(asked.thresholds)
        roll_out(server, asked.version, source, thresholds, label_map=label_map, proxy=proxy, **options)


if __name__ == "__main__":
    main()
