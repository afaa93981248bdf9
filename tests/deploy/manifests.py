"""The files of deploy/, parsed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from serving.model_store import ROOT

DEPLOY = ROOT / "deploy"
_VALIDATE = str(Path(sys.executable).with_name("kubernetes-validate"))


def read_yaml(path: str) -> dict[str, Any]:
    """Return the document in deploy/*path*."""
    document: dict[str, Any] = yaml.safe_load((DEPLOY / path).read_text())
    return document


def assert_valid(manifest: Path) -> None:
    """Fail unless every document of the file *manifest* has a schema of Kubernetes and follows it, without more."""
    done = subprocess.run([_VALIDATE, "--strict", str(manifest)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Couldn't find schema" not in done.stdout + done.stderr
