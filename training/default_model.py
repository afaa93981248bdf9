"""Write the model that comes with fruity as a run: python -m training.default_model --run runs/default.

ImageNet's network without further training: its outputs are summed into foods, drinks and `not food`.
"""

import argparse
import sys
from pathlib import Path

import msgspec
import yaml
from rich.console import Console
from timm.data import ImageNetInfo  # type: ignore[attr-defined]  # re-exported without __all__

from handler.spec import Provenance, Spec
from training.network import NetworkError, build_network, default_preprocessing
from training.run_folder import RunError, write_run

CONFIG = Path(__file__).parent / "conf" / "default_model.yaml"


class DefaultModelError(Exception):
    """The configuration names a synset that ImageNet does not have, or one twice."""


class DefaultModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """conf/default_model.yaml."""

    name: str
    architecture: str
    weights: str
    other: str
    """The label that takes the probability of every synset that no other label names."""
    threshold: float
    labels: dict[str, list[str]]
    """By label, its synsets."""


def main() -> None:
    """Write the run."""
    parser = argparse.ArgumentParser(description="Write the model that comes with fruity as a run.")
    parser.add_argument("--run", type=Path, default=Path("runs/default"), help="its folder (default: %(default)s)")
    run: Path = parser.parse_args().run
    try:
        spec = write_default_run(run)
    except (DefaultModelError, NetworkError, RunError) as error:
        sys.exit(f"default model: {error}")
    Console().print(f"default model: {len(spec.labels)} labels, written to {run}")


def write_default_run(run: Path) -> Spec:
    """Write the run and return its spec; raise `DefaultModelError`, `NetworkError` or `RunError`."""
    config_text = CONFIG.read_text()
    config = msgspec.convert(yaml.safe_load(config_text), DefaultModel)
    network = build_network(config.architecture, "package")
    spec = compose_spec(config, ImageNetInfo().label_names())  # type: ignore[no-untyped-call]
    write_run(run, state_dict=network.state_dict(), spec=spec, metrics={}, config=config_text)
    return spec


def compose_spec(config: DefaultModel, synsets: list[str]) -> Spec:
    """Return the spec whose labels sum the outputs that *config* names; raise `DefaultModelError`.

    *synsets* are the network's outputs, in order.
    """
    indices = {synset: index for index, synset in enumerate(synsets)}
    named = [synset for group in config.labels.values() for synset in group]
    unknown = sorted(set(named) - set(indices))
    repeated = sorted({synset for synset in named if named.count(synset) > 1})
    if unknown or repeated:
        raise DefaultModelError(f"{CONFIG.name}: remove the unknown synsets {unknown}, the repeated {repeated}")
    outputs = [tuple(indices[synset] for synset in group) for group in config.labels.values()]
    rest = tuple(index for index, synset in enumerate(synsets) if synset not in named)
    return Spec(
        name=config.name,
        architecture=config.architecture,
        num_outputs=len(synsets),
        labels=(*config.labels, config.other),
        label_outputs=(*outputs, rest),
        preprocessing=default_preprocessing(config.architecture),
        threshold=config.threshold,
        provenance=Provenance(weights=config.weights),
    )


if __name__ == "__main__":
    main()
