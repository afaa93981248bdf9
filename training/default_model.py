"""Write the model that comes with fruity as a run: python -m training.default_model --run runs/default.

ImageNet's network without further training: its outputs are summed into foods, drinks and `not food`.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from timm.data import ImageNetInfo  # type: ignore[attr-defined]  # re-exported without __all__

from handler.spec import Provenance, Spec
from training.network import NetworkError, build_network, default_preprocessing
from training.run_folder import CONFIG_FILE, RunError, write_run

CONFIG = Path(__file__).parent / "conf" / "default_model.yaml"


class DefaultModelError(Exception):
    """The configuration names a synset that ImageNet does not have, or one twice."""


def main() -> None:
    """Write the run."""
    parser = argparse.ArgumentParser(description="Write the model that comes with fruity as a run.")
    parser.add_argument("--run", type=Path, default=Path("runs/default"), help="its folder (default: %(default)s)")
    run: Path = parser.parse_args().run
    try:
        spec = write_default_run(run)
    except (DefaultModelError, NetworkError, OSError, RunError) as error:
        sys.exit(f"default model: {error}")
    Console().print(f"default model: {len(spec.labels)} labels, written to {run}")


def write_default_run(run: Path) -> Spec:
    """Write the run and return its spec; raise `DefaultModelError`, `NetworkError`, `OSError` or `RunError`."""
    config_text = CONFIG.read_text()
    config = yaml.safe_load(config_text)
    spec = compose_spec(config, ImageNetInfo().label_names())  # type: ignore[no-untyped-call]
    network = build_network(config["architecture"])
    write_run(run, state_dict=network.state_dict(), spec=spec, metrics={}, texts={CONFIG_FILE: config_text})
    return spec


def compose_spec(config: Mapping[str, Any], synsets: list[str]) -> Spec:
    """Return the spec whose labels sum the outputs, *synsets* in order, as *config* says; raise `DefaultModelError`."""
    named = [synset for group in config["labels"].values() for synset in group]
    unknown = sorted(set(named) - set(synsets))
    repeated = sorted({synset for synset in named if named.count(synset) > 1})
    if unknown or repeated:
        raise DefaultModelError(
            f"{CONFIG.name}: unknown synsets {unknown}, repeated synsets {repeated}; both lists must be empty"
        )
    outputs = [tuple(synsets.index(synset) for synset in group) for group in config["labels"].values()]
    rest = tuple(index for index, synset in enumerate(synsets) if synset not in named)
    return Spec(
        name=config["name"],
        architecture=config["architecture"],
        num_outputs=len(synsets),
        labels=(*config["labels"], config["other"]),
        label_outputs=(*outputs, rest),
        preprocessing=default_preprocessing(config["architecture"]),
        threshold=config["threshold"],
        provenance=Provenance(weights=config["weights"]),
    )


if __name__ == "__main__":
    main()
