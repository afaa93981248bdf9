"""The model that comes with fruity, as a run.

ImageNet's network without further training: its outputs are summed into foods, drinks and `not food`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from timm.data import ImageNetInfo  # type: ignore[attr-defined]  # re-exported without __all__

from handler.spec import Provenance, Spec
from training.network import build_network, default_preprocessing
from training.run_folder import CONFIG_FILE, write_run

CONFIG = Path(__file__).parent / "conf" / "default_model.yaml"


class DefaultModelError(Exception):
    """The configuration names a synset that ImageNet does not have, or one twice."""


def write_default_run(run: Path) -> None:
    """Write the run; raise `DefaultModelError`, `NetworkError`, `OSError` or `RunError`."""
    config_text = CONFIG.read_text()
    config = yaml.safe_load(config_text)
    spec = compose_spec(config, ImageNetInfo().label_names())  # type: ignore[no-untyped-call]
    network = build_network(config["architecture"])
    write_run(run, state_dict=network.state_dict(), spec=spec, metrics={}, texts={CONFIG_FILE: config_text})


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
