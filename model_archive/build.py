"""Build an archive from a run: python -m model_archive.build --run runs/latest --version 1.1.0."""

import argparse
import re
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
import yaml
from rich.console import Console
from rich.table import Table

from handler.engine import Floats, Photos
from handler.settings import SettingsError, read_settings
from handler.spec import SpecError, read_spec
from model_archive.card import write_card
from model_archive.export import ENGINES, ExportError, export_engines
from model_archive.golden import choose_golden
from model_archive.network import NetworkError, ServedNetwork, load_network
from model_archive.seal import SealError, archive_and_seal
from model_archive.stage import handler_entry, stage_archive

CONFIG = Path(__file__).parent / "model-config.yaml"

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def main() -> None:
    """Build what the command line asks for and say what went in."""
    parser = argparse.ArgumentParser(prog="python -m model_archive.build", description="Build an archive from a run.")
    parser.add_argument("--run", type=Path, default=Path("runs/latest"), help="the run's folder (default: %(default)s)")
    parser.add_argument("--version", type=_parse_version, required=True, help="as 1.1.0")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the archive's folder (default: %(default)s)")
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=["openvino"], help="for CPUs openvino, for GPUs torch"
    )
    arguments = parser.parse_args()
    try:
        archive, digest = build_archive(arguments.run, arguments.version, arguments.engines, arguments.out)
    except (SpecError, SettingsError, NetworkError, ExportError, SealError, OSError) as error:
        sys.exit(f"archive: {error}")
    _print_contents(archive, digest)


def build_archive(
    run: Path, version: str, engines: Sequence[str], out: Path, config: Path = CONFIG
) -> tuple[Path, str]:
    """Return the archive made from the folder *run*, with its card beside it, and its SHA-256 in hex.

    Raises `SpecError`, `SettingsError`, `NetworkError`, `ExportError` or `SealError`; nothing is left half-written.
    """
    spec = read_spec(run)
    read_settings(yaml.safe_load(config.read_text()))
    network = load_network(run, spec)
    archive = out / f"{spec.name}-{version}.mar"
    with tempfile.TemporaryDirectory() as scratch:
        stage = Path(scratch)
        spec = msgspec.structs.replace(spec, engines=export_engines(network, spec, engines, stage))
        golden = choose_golden(spec, lambda photos_BHWC: _infer(network, photos_BHWC))
        stage_archive(run, spec, golden, stage)
        digest = archive_and_seal(stage, handler_entry(), config, spec.name, version, archive)
    write_card(archive.with_suffix(".md"), archive, version, digest, spec)
    return archive, digest


@torch.no_grad()
def _infer(network: ServedNetwork, photos_BHWC: Photos) -> Floats:
    return network(torch.from_numpy(photos_BHWC))[0].numpy()  # type: ignore[no-any-return]


def _parse_version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no version; write three numbers, as 1.1.0")
    return text


def _print_contents(archive: Path, digest: str) -> None:
    table = Table(title=str(archive), title_justify="left", show_edge=False)
    for column in ("file", "bytes", "packed"):
        table.add_column(column, justify="left" if column == "file" else "right")
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            table.add_row(member.filename, f"{member.file_size:,}", f"{member.compress_size:,}")
    console = Console()
    console.print(table)
    console.print(f"size    {archive.stat().st_size:,} bytes\nsha256  {digest}", highlight=False)


if __name__ == "__main__":
    main()
