"""The software bill of materials: which packages an archive was built to be served with."""

import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from model_archive.identity import MODEL

_ROOT = Path(__file__).resolve().parent.parent
_SERVING = "registry"
"""The extra of pyproject.toml that the serving image installs."""
# `pip freeze` leaves them out of the lock: each environment has its own.
_UNPINNED = {"pip", "setuptools", "wheel"}

Needs = dict[str, set[str]]


class SbomError(Exception):
    """The packages that are installed are not those of pyproject.toml and requirements.lock."""


def write_sbom(path: Path, version: str, digest: str, root: Path = _ROOT) -> None:
    """Write to *path*, as CycloneDX JSON, what serves the archive with the SHA-256 *digest*.

    The packages are those that pyproject.toml in *root* asks for, in the versions of its requirements.lock. Holds no
    time and no random number: same input, same bytes. Raises `SbomError`.
    """
    pins = _read_pins((root / "requirements.lock").read_text())
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needs: Needs = {}
    direct = {_visit(requirement, needs) for requirement in _read_extra(extras, _SERVING)}
    missing = sorted(needs.keys() - pins.keys() - _UNPINNED)
    if missing:
        raise SbomError(f"requirements.lock does not pin {', '.join(missing)}; run make lock")
    bom = _describe(needs, direct, pins, version, digest)
    path.write_text(JsonV1Dot6(bom).output_as_string(indent=1) + "\n")


def _read_pins(lock: str) -> dict[str, str]:
    lines = [line.partition("==") for line in lock.splitlines() if "==" in line]
    return {canonicalize_name(name): version.strip() for name, _, version in lines}


def _read_extra(extras: Mapping[str, list[str]], extra: str) -> Iterator[Requirement]:
    """Return what *extra* lists; where it lists another extra of fruity, what that one lists."""
    for requirement in map(Requirement, extras[extra]):
        if requirement.name == MODEL:
            for other in sorted(requirement.extras):
                yield from _read_extra(extras, other)
        else:
            yield requirement


def _visit(requirement: Requirement, needs: Needs) -> str:
    """Note in *needs* what the package of *requirement* needs, and so on; return its name."""
    name = canonicalize_name(requirement.name)
    try:
        asked = [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError as error:
        raise SbomError(f"{name} is not installed; run make setup") from error
    active = {canonicalize_name(one.name): one for one in asked if _is_active(one, requirement.extras)}
    if not active.keys() <= needs.setdefault(name, set()):
        needs[name] |= active.keys()
        for one in active.values():
            _visit(one, needs)
    return name


def _is_active(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras})


def _describe(needs: Needs, direct: set[str], pins: Mapping[str, str], version: str, digest: str) -> Bom:
    model = Component(
        name=MODEL,
        version=version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=MODEL,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    packages = {
        name: Component(
            name=name, version=pins.get(name), bom_ref=name, purl=PackageURL("pypi", name=name, version=pins.get(name))
        )
        for name in needs
    }
    bom = Bom(components=packages.values())
    bom.metadata.component = model
    bom.register_dependency(model, [packages[name] for name in direct])
    for name, needed in needs.items():
        bom.register_dependency(packages[name], [packages[other] for other in needed])
    # The library would fill in what differs each time.
    bom.serial_number = None  # type: ignore[assignment]
    bom.metadata.timestamp = None  # type: ignore[assignment]
    return bom
