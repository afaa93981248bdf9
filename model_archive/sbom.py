"""The software bill of materials: the packages that an archive is served with (docs/decisions/0016)."""

import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from model_archive.build_error import BuildError
from model_archive.identity import MODEL

_ROOT = Path(__file__).resolve().parent.parent
# requirements.lock leaves them out, as `pip freeze` does.
_UNPINNED = {"pip", "setuptools", "wheel"}

Needs = dict[str, set[str]]


def write_sbom(path: Path, version: str, digest: str, root: Path = _ROOT) -> None:
    """Write to *path*, as CycloneDX JSON, the packages that serve the archive; raise `BuildError`.

    They are those that pyproject.toml in *root* asks for, in the versions of its requirements.lock.
    """
    lines = (line.partition("==") for line in (root / "requirements.lock").read_text().splitlines() if "==" in line)
    pins: dict[str, str] = {canonicalize_name(name): pin.strip() for name, _, pin in lines}
    needs = list_needs("registry", root)
    missing = sorted(needs.keys() - pins.keys() - _UNPINNED - {MODEL})
    if missing:
        raise BuildError(f"requirements.lock does not pin {', '.join(missing)}; run make lock")
    path.write_text(JsonV1Dot6(_describe(needs, pins, version, digest)).output_as_string(indent=1) + "\n")


def list_needs(extra: str, root: Path = _ROOT) -> Needs:
    """Return fruity with its *extra* and all packages that these need here; raise `BuildError`."""
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needs: Needs = {}
    todo, seen = [Requirement(f"{MODEL}[{extra}]")], set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (key := f"{name}{sorted(requirement.extras)}") not in seen:
            seen.add(key)
            required = _list_requirements(name, requirement.extras, extras)
            needs.setdefault(name, set()).update({canonicalize_name(one.name) for one in required} - {name})
            todo += required
    return needs


def _list_requirements(name: str, asked: set[str], extras: Mapping[str, list[str]]) -> list[Requirement]:
    """Return what package *name* requires here with its extras *asked*; *extras* are fruity's own."""
    if name == MODEL:
        return [Requirement(text) for extra in sorted(asked) for text in extras[extra]]
    try:
        found = [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError as error:
        raise BuildError(f"{name} is not installed; run make setup") from error
    return [one for one in found if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in ("", *asked))]


def _describe(needs: Needs, pins: Mapping[str, str], version: str, digest: str) -> Bom:
    components = {
        name: Component(
            name=name, version=pins.get(name), bom_ref=name, purl=PackageURL("pypi", name=name, version=pins.get(name))
        )
        for name in needs.keys() - {MODEL}
    }
    bom = Bom(components=components.values())
    bom.metadata.component = components[MODEL] = Component(
        name=MODEL,
        version=version,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=MODEL,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    for name, needed in needs.items():
        bom.register_dependency(components[name], [components[other] for other in needed])
    # The library would add what differs in each run.
    bom.serial_number = None  # type: ignore[assignment]
    bom.metadata.timestamp = None  # type: ignore[assignment]
    return bom
