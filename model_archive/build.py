"""Build an archive from a run: python -m model_archive.build --run runs/latest --version 1.1.0."""

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import msgspec
import torch
import yaml
from rich.console import Console
from rich.table import Table

from handler.engine import OPENVINO_FILE, Floats, Photos
from handler.settings import SettingsError, read_settings
from handler.spec import FILE_NAME, Figures, Spec, SpecError, parse_spec, read_spec
from model_archive.build_error import BuildError, QuantizationError
from model_archive.card import format_figure, write_card
from model_archive.engine_export import ENGINES, export_engines
from model_archive.entry import SBOM_SUFFIX, hash_file
from model_archive.golden import choose_golden
from model_archive.identity import ArchiveError, check_version
from model_archive.placement import put_archive
from model_archive.quantization_photos import read_photos
from model_archive.quantize import Infer, infer_with_openvino, quantize_engine
from model_archive.sbom import write_sbom
from model_archive.seal import seal_archive
from model_archive.served_network import ServedNetwork, load_network
from model_archive.signature import SignatureError, check_private_key, sign_archive, signature_path
from model_archive.staging import HANDLER_ENTRY, stage_archive

Precision = Literal["auto", "float", "int8"]

CONFIG = Path(__file__).parent / "model-config.yaml"


def main() -> None:
    """Build the archive that the command line asks for, and print what is in it."""
    parser = argparse.ArgumentParser(prog="python -m model_archive.build", description="Build an archive from a run.")
    parser.add_argument("--run", type=Path, default=Path("runs/latest"), help="the run's folder (default: %(default)s)")
    parser.add_argument("--version", type=_parse_version, required=True, help="for example 1.1.0")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the archive's folder (default: %(default)s)")
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=["openvino"], help="openvino for CPUs, torch for GPUs"
    )
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="of the openvino engine; auto is int8 if the accuracy gate accepts it, else float",
    )
    parser.add_argument("--config", type=Path, default=CONFIG, help="another model-config.yaml")
    parser.add_argument("--signing-key", type=Path, help="sign with it, as make keys makes one (default: unsigned)")
    asked = parser.parse_args()
    if asked.precision == "int8" and "openvino" not in asked.engines:
        parser.error(f"argument --precision: int8 needs the engine openvino, --engines is {' '.join(asked.engines)}")
    try:
        if asked.signing_key:
            check_private_key(asked.signing_key)
        archive, digest = build_archive(
            asked.run, asked.version, asked.engines, asked.out, asked.config, precision=asked.precision
        )
        if asked.signing_key:
            sign_archive(archive, asked.signing_key)
    except (BuildError, SpecError, SettingsError, SignatureError, OSError) as error:
        sys.exit(f"archive: {error}")
    _print_contents(archive, digest)


def build_archive(
    run: Path,
    version: str,
    engines: Sequence[str],
    out: Path,
    config: Path = CONFIG,
    *,
    precision: Precision = "float",
    replace: bool = False,
) -> tuple[Path, str]:
    """Return the archive of the folder *run* and its SHA-256 in hex; write its card and its SBOM beside it.

    *precision* is that of the openvino engine. An archive of this version with other bytes is refused, unless it is to
    *replace*. Raises `BuildError`, `SpecError`, `SettingsError` or `OSError`, and then leaves everything as it was.
    """
    spec = read_spec(run)
    read_settings(yaml.safe_load(config.read_text()))
    network = load_network(run, spec)
    archive = out / f"{spec.name}-{version}.mar"
    with tempfile.TemporaryDirectory() as scratch:
        stage, sealed = Path(scratch) / "stage", Path(scratch) / archive.name
        stage.mkdir()
        figures = export_engines(network, spec, engines, stage)
        infer: Infer = partial(_infer, network)
        if "openvino" in engines and precision != "float":
            figures["openvino"] = _quantize(run, spec, stage, infer, figures["openvino"], required=precision == "int8")
            infer = infer_with_openvino(stage / OPENVINO_FILE)
        spec = msgspec.structs.replace(spec, engines=figures)
        stage_archive(run, spec, choose_golden(spec, infer), stage)
        seal_archive(stage, HANDLER_ENTRY, config, spec.name, version, sealed)
        digest = hash_file(sealed)
        write_card(sealed.with_suffix(".md"), sealed, version, digest, spec)
        write_sbom(sealed.with_suffix(SBOM_SUFFIX), version, digest)
        put_archive(sealed, archive, digest, replace=replace)
    return archive, digest


def _quantize(run: Path, spec: Spec, stage: Path, infer: Infer, as_float: Figures, *, required: bool) -> Figures:
    """Return the figures of the engine in int8, or *as_float* with the reason why it stays in float."""
    try:
        return quantize_engine(stage / OPENVINO_FILE, read_photos(run, spec), infer)
    except QuantizationError as error:
        if required:
            raise
        return {**as_float, "precision": "float", "not_int8": str(error)}


@torch.no_grad()
def _infer(network: ServedNetwork, photos_BHWC: Photos) -> Floats:
    return network(torch.from_numpy(photos_BHWC))[0].numpy()  # type: ignore[no-any-return]


def _parse_version(text: str) -> str:
    try:
        return check_version(text)
    except ArchiveError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _print_contents(archive: Path, digest: str) -> None:
    table = Table(title=str(archive), title_justify="left", show_edge=False)
    for column in ("file", "bytes", "packed"):
        table.add_column(column, justify="left" if column == "file" else "right")
    with zipfile.ZipFile(archive) as members:
        engines = parse_spec(members.read(FILE_NAME)).engines
        for member in members.infolist():
            table.add_row(member.filename, f"{member.file_size:,}", f"{member.compress_size:,}")
    signature = signature_path(archive)
    signed = signature if signature.exists() else "no; make archive SIGNING_KEY=… signs"
    lines = [f"size    {archive.stat().st_size:,} bytes", f"sha256  {digest}", f"signed  {signed}"]
    console = Console()
    console.print(table)
    for line in (*lines, *(f"{name:7} {_describe_engine(figures)}" for name, figures in engines.items())):
        console.print(line, highlight=False, soft_wrap=True)


def _describe_engine(figures: Figures) -> str:
    """Return its precision, the reason if it is not int8, and its figures."""
    words = [str(figures[key]) for key in ("precision", "not_int8") if key in figures]
    numbers = [f"{key} {format_figure(value)}" for key, value in figures.items() if not isinstance(value, str)]
    return f"{': '.join(words) or 'float'} ({', '.join(numbers)})"


if __name__ == "__main__":
    main()
