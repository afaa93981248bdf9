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
PLACE = "--project=p --region=europe-west1"

RECORD = """
echo "$(basename "$0") $*" >> "$CALLS"
[ "$(wc -l < "$CALLS")" -eq "$FAIL_AT" ] && { echo "no luck" >&2; exit 7; }
case "$*" in
  *"services list"*) echo "$SERVICES" ;;
  *"services describe"*) echo "$STATUS" ;;
  *"images describe"*) echo "$DIGEST" ;;
esac
exit 0
"""


class Cloud:
    """A gcloud and a python that record their calls in a file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._calls, self._monkeypatch = folder, folder / "calls", monkeypatch
        self._calls.touch()
        self.install()
        monkeypatch.setattr(sys, "executable", str(write_program(folder / "bin" / "python", RECORD)))
        monkeypatch.setattr(cloud_run, "MANIFESTS", folder / "manifests")
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
        monkeypatch.setenv("CALLS", str(self._calls))
        monkeypatch.setenv("DIGEST", DIGEST)
        monkeypatch.delenv("DRY_RUN", raising=False)
        self.fail_at(0)
        self.serve({OLD: 100})
        tagged = {"tag": "candidate", "url": "https://candidate.test"}
        self.describe({"url": "https://fruity.test", "traffic": [{"revisionName": OLD, "percent": 100}, tagged]})

    def install(self, *, program: str = "gcloud", on_traffic: str = "exit 0") -> None:
        """Write *program*, which runs *on_traffic* when the traffic is updated."""
        end = f'case "$*" in *update-traffic*) {on_traffic} ;; esac'
        write_program(self._folder / "bin" / program, RECORD.replace("exit 0", end))

    def fail_at(self, call: int) -> None:
        """Let the *call*-th call fail, counted from 1."""
        self._monkeypatch.setenv("FAIL_AT", str(call))

    def serve(self, shares: dict[str, int]) -> None:
        traffic = [{"revisionName": name, "percent": share} for name, share in shares.items()]
        self._monkeypatch.setenv("SERVICES", json.dumps([{"status": {"traffic": traffic}}] if shares else []))

    def describe(self, status: dict[str, object]) -> None:
        self._monkeypatch.setenv("STATUS", json.dumps({"status": status}))

    def run(self, *arguments: str, image: str = IMAGE, version: str = "1.1.0") -> None:
        given = ["--project=p", "--region=europe-west1", f"--image={image}", f"--version={version}", *arguments]
        self._monkeypatch.setattr(sys, "argv", ["cloud_run", *given])
        cloud_run.main()

    @property
    def calls(self) -> list[str]:
        """The calls so far, without their place, the digest of the new revision and the manifest's path."""
        calls = [
            re.sub(r"(1-1-0)-[0-9a-f]{8}", r"\1-NEW", line).replace(f" {PLACE}", "").replace("--quiet", "").strip()
            for line in self._calls.read_text().splitlines()
        ]
        return [re.sub(r"replace \S+\.yaml", "replace MANIFEST", call) for call in calls]

    @property
    def manifest(self) -> dict[str, dict[str, object]]:
        (file,) = cloud_run.MANIFESTS.glob("*.yaml")
        manifest: dict[str, dict[str, object]] = yaml.safe_load(file.read_text())
        return manifest
