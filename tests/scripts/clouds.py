"""A gcloud and a python on PATH that record the calls of Cloud Run's deployment."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from scripts import cloud_run
from tests.scripts.programs import write_program

DIGEST = "sha256:" + "0" * 64
IMAGE = f"europe-west1-docker.pkg.dev/p/fruity/fruity@{DIGEST}"
OLD = "fruity-1-0-0-00000000"
PLACE = ["--project=p", "--region=europe-west1"]

RECORD = """
echo "$(basename "$0") $*" >> "$CALLS"
[ "$(wc -l < "$CALLS")" -eq "$FAIL_AT" ] && { exit 7; }
case "$*" in
  *"services list"*) echo "$SERVICES" ;;
  *"services describe"*) echo "$STATUS" ;;
  *"images describe"*) echo "$DIGEST" ;;
esac
exit 0
"""


class Cloud:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._calls, self._monkeypatch = folder, folder / "calls", monkeypatch
        self._calls.touch()
        self.install()
        monkeypatch.setattr(sys, "executable", str(write_program(folder / "bin" / "python", RECORD)))
        monkeypatch.setattr(cloud_run, "MANIFESTS", folder / "manifests")
        monkeypatch.setattr(cloud_run, "PREVIOUS", folder / "manifests" / "previous_revision")
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
        monkeypatch.delenv("DRY_RUN", raising=False)
        tagged = {"tag": "candidate", "url": "https://candidate.test"}
        self.set(CALLS=str(self._calls), DIGEST=DIGEST, FAIL_AT="0")
        self.serve({OLD: 100})
        self.describe({"url": "https://fruity.test", "traffic": [{"revisionName": OLD, "percent": 100}, tagged]})

    def install(self, *, on_traffic: str = "exit 0") -> None:
        """Write a gcloud that runs *on_traffic* when the traffic is updated."""
        end = f'case "$*" in *update-traffic*) {on_traffic} ;; esac'
        write_program(self._folder / "bin" / "gcloud", RECORD.replace("exit 0", end))

    def set(self, **environment: str) -> None:
        """Set variables; FAIL_AT is the number of the call that fails, counted from 1."""
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)

    def serve(self, shares: dict[str, int]) -> None:
        traffic = [{"revisionName": name, "percent": share} for name, share in shares.items()]
        self.set(SERVICES=json.dumps([{"status": {"traffic": traffic}}] if shares else []))

    def describe(self, status: dict[str, object]) -> None:
        self.set(STATUS=json.dumps({"status": status}))

    def run(self, *arguments: str, image: str = IMAGE, version: str = "1.1.0") -> None:
        given = [*PLACE, f"--image={image}", f"--version={version}", "--archive=a.mar", *arguments]
        self._monkeypatch.setattr(sys, "argv", ["cloud_run", *given])
        cloud_run.main()

    @property
    def calls(self) -> list[str]:
        """The calls so far, without their place, the digest of the new revision and the manifest's path."""
        text = re.sub(r"(1-1-0)-[0-9a-f]{8}", r"\1-NEW", self._calls.read_text()).replace(" --quiet", "")
        return re.sub(r"replace \S+\.yaml", "replace MANIFEST", text.replace(f" {' '.join(PLACE)}", "")).splitlines()

    @property
    def manifest(self) -> dict[str, dict[str, object]]:
        (file,) = cloud_run.MANIFESTS.glob("*.yaml")
        manifest: dict[str, dict[str, object]] = yaml.safe_load(file.read_text())
        return manifest
