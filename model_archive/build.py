"""Build an archive from a run: python -m model_archive.build --run runs/latest --version 1.1.0."""

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec
from rich.console import Console

from handler.engine import OPENVINO_FILE
from handler.familiarity import read_familiarity
from handler.settings import SettingsError
from handler.spec import FILE_NAME, Figures, Spec, SpecError, parse_spec, read_spec
from model_archive.build_error import BuildError, QuantizationError
from model_archive.candidates import FRONTIER, read_candidates
from model_archive.card import CardRun, format_figure, write_card
from model_archive.engine_export import ENGINES, export_engines
from model_archive.entry import ARCHIVE_SUFFIX, SBOM_SUFFIX, hash_file
from model_archive.golden import choose_golden, read_golden
from model_archive.identity import is_version, read_identity
from model_archive.quantization_photos import read_photos
from model_archive.quantize import Infer, infer_with_openvino, quantize_engine
from model_archive.run_entry import RunFolderError, describe_run
from model_archive.sbom import write_sbom
from model_archive.seal import read_model_config, seal_archive, stage_files
from model_archive.served_network import load_network
from model_archive.signature import SignatureError, load_signer, sign_archive, signature_path
from model_archive.storage import partial_file

Precision = Literal["auto", "float", "int8"]

CONFIG = Path(__file__).parent / "model-config.yaml"


def main() -> None:
    """Build the archive that the command line asks for, and print what is in it."""
    parser = argparse.ArgumentParser(prog="python -m model_archive.build", description="Build an archive from a run.")
    parser.add_argument("--run", type=Path, default=Path("runs/latest"), help="the run's folder (default: %(default)s)")
    parser.add_argument("--version", required=True, help="for example 1.1.0")
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
    if not is_version(asked.version):
        parser.error(f"argument --version: {asked.version!r} is not a version; write three numbers, for example 1.1.0")
    if asked.precision == "int8" and "openvino" not in asked.engines:
        parser.error(f"argument --precision: int8 needs the engine openvino, --engines is {' '.join(asked.engines)}")
    try:
        if asked.signing_key:
            load_signer(asked.signing_key)
        archive, digest = build_archive(
            asked.run, asked.version, asked.engines, asked.out, asked.config, asked.precision
        )
        if asked.signing_key:
            sign_archive(archive, asked.signing_key)
    except (BuildError, SpecError, SettingsError, SignatureError, OSError) as error:
        sys.exit(f"archive: {error}")
    except KeyboardInterrupt:
        sys.exit("archive: stopped; nothing was written")
    print_contents(archive, digest)


def build_archive(
    run: Path,
    version: str,
    engines: Sequence[str],
    out: Path,
    config: Path = CONFIG,
    precision: Precision = "float",
) -> tuple[Path, str]:
    """Return the archive of the folder *run*, which has card and SBOM beside it, and its SHA-256 in hex.

    The card says where the run stands among those that `make frontier` has measured. Raises `BuildError`, `SpecError`,
    `SettingsError` or `OSError`, and then leaves everything as it was.
    """
    spec = read_spec(run)
    read_model_config(config)
    network, familiarity = load_network(run, spec), read_familiarity(run)
    card_run = _read_card_run(run)
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch) / "stage"
        stage.mkdir()
        figures = export_engines(network, spec, engines, stage)
        infer: Infer = network.infer
        if "openvino" in engines and precision != "float":
            try:
                figures["openvino"] = quantize_engine(stage / OPENVINO_FILE, read_photos(run, spec), infer, familiarity)
            except QuantizationError as error:
                if precision == "int8":
                    raise
                figures["openvino"] |= {"precision": "float", "not_int8": str(error)}
            infer = infer_with_openvino(stage / OPENVINO_FILE)
        spec = msgspec.structs.replace(spec, engines=figures)
        stage_files(run, spec, choose_golden(spec, infer, familiarity), stage)
        return _seal_stage(stage, spec, config, version, out, card_run)


def reseal_archive(archive: Path, out: Path, run: CardRun) -> tuple[Path, str]:
    """Return *archive* with the handler and the model-config.yaml of this checkout, written to *out*, and its SHA-256.

    Its engines and figures stay as they are, so that the *run* which they were made of is not needed. Raises as
    `build_archive` does, or `ArchiveError` if the file is not an archive.
    """
    with tempfile.TemporaryDirectory() as scratch:
        held, stage = Path(scratch) / "held", Path(scratch) / "stage"
        stage.mkdir()
        with zipfile.ZipFile(archive) as members:
            members.extractall(held)
        for engine in held.glob("model.*"):
            engine.rename(stage / engine.name)
        spec = read_spec(held)
        stage_files(held, spec, read_golden(archive), stage)
        return _seal_stage(stage, spec, CONFIG, read_identity(archive).version, out, run)


def _read_card_run(run: Path) -> CardRun:
    try:
        entry = describe_run(run)
    except RunFolderError as error:
        raise BuildError(str(error)) from error
    return CardRun(entry.id, entry.digest, candidates=read_candidates(FRONTIER))


def _seal_stage(stage: Path, spec: Spec, config: Path, version: str, out: Path, run: CardRun) -> tuple[Path, str]:
    archive = out / f"{spec.name}-{version}.mar"
    with tempfile.TemporaryDirectory() as scratch:
        sealed = Path(scratch) / archive.name
        seal_archive(stage, config, spec.name, version, sealed)
        digest = hash_file(sealed)
        write_card(sealed.with_suffix(".md"), sealed, version, digest, spec, run)
        write_sbom(sealed.with_suffix(SBOM_SUFFIX), version, digest)
        put_archive(sealed, archive, digest)
    return archive, digest


def put_archive(built: Path, archive: Path, digest: str) -> None:
    """Copy *built* with its card and SBOM to *archive*; raise `BuildError` if another build of the version is there."""
    found = hash_file(archive) if archive.exists() else None
    if found not in (None, digest):
        raise BuildError(
            f"{archive} exists with the SHA-256 {found}, this build has {digest}; set VERSION=…, or delete the file"
        )
    if found is None:
        # A signature that is there is of another build.
        signature_path(archive).unlink(missing_ok=True)
    for suffix in (".md", SBOM_SUFFIX, ARCHIVE_SUFFIX):
        target = archive.with_suffix(suffix)
        with built.with_suffix(suffix).open("rb") as content, partial_file(target, content) as partial:
            partial.replace(target)


def print_contents(archive: Path, digest: str) -> None:
    """Print the members, the engines, the size and the signature of *archive*."""
    with zipfile.ZipFile(archive) as members:
        engines = parse_spec(members.read(FILE_NAME)).engines
        lines = [str(archive), *(f"{member.file_size:12,}  {member.filename}" for member in members.infolist())]
    signature = signature_path(archive)
    signed = signature if signature.exists() else "no; make archive SIGNING_KEY=… signs"
    lines += [f"size    {archive.stat().st_size:,} bytes", f"sha256  {digest}", f"signed  {signed}"]
    lines += [f"{name:7} {_describe_engine(figures)}" for name, figures in engines.items()]
    Console().print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _describe_engine(figures: Figures) -> str:
    words = [str(figures[key]) for key in ("precision", "not_int8") if key in figures]
    numbers = [f"{key} {format_figure(value)}" for key, value in figures.items() if not isinstance(value, str)]
    return f"{': '.join(words) or 'float'} ({', '.join(numbers)})"


if __name__ == "__main__":
    main()
