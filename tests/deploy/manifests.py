"""The files of deploy/, parsed."""

from pathlib import Path
from typing import Any

import yaml

from serving.model_store import ROOT

DEPLOY = ROOT / "deploy"


def read_yaml(path: str) -> dict[str, Any]:
    """Return the document in deploy/*path*."""
    document: dict[str, Any] = yaml.safe_load((DEPLOY / path).read_text())
    return document


def read_documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))
