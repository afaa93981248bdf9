"""The staging folder: the files of an archive, laid out as the worker finds them."""

import shutil
from pathlib import Path

import handler
from handler.spec import REFERENCE_FILE, Spec, write_spec
from model_archive.golden import GoldenSample, write_golden

_HANDLER = Path(handler.__file__).parent
HANDLER_ENTRY = _HANDLER / "fruity_handler.py"


def stage_archive(run: Path, spec: Spec, golden: list[GoldenSample], folder: Path) -> None:
    """Put the handler package, *spec*, *golden* and the run's drift reference beside the engines in *folder*."""
    write_spec(spec, folder)
    write_golden(golden, folder)
    if (run / REFERENCE_FILE).exists():
        shutil.copyfile(run / REFERENCE_FILE, folder / REFERENCE_FILE)
    package = folder / _HANDLER.name
    package.mkdir()
    for source in sorted(_HANDLER.iterdir()):
        # torch-model-archiver puts the entry at the archive's root, where the worker imports it by name.
        if source.suffix in (".py", ".yaml") and source != HANDLER_ENTRY:
            shutil.copyfile(source, package / source.name)
