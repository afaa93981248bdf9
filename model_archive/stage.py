"""The staging folder: exactly what goes into the archive, laid out as the worker will find it."""

import shutil
from pathlib import Path

import handler
from handler.spec import REFERENCE_FILE, Spec, write_spec
from model_archive.golden import GoldenPhoto, write_golden

ENTRY = "fruity_handler.py"

_HANDLER = Path(handler.__file__).parent


def stage_archive(run: Path, spec: Spec, golden: list[GoldenPhoto], folder: Path) -> None:
    """Put the handler package, *spec*, *golden* and the run's drift reference beside the engines in *folder*."""
    write_spec(spec, folder)
    write_golden(golden, folder)
    if (run / REFERENCE_FILE).exists():
        shutil.copyfile(run / REFERENCE_FILE, folder / REFERENCE_FILE)
    package = folder / _HANDLER.name
    package.mkdir()
    for source in sorted(_HANDLER.iterdir()):
        # The entry stands at the archive's root, where the worker imports it by name.
        if source.suffix in (".py", ".yaml") and source.name != ENTRY:
            shutil.copyfile(source, package / source.name)


def handler_entry() -> Path:
    return _HANDLER / ENTRY
