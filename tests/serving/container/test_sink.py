"""Corrections through the real reverse proxy to the sink, and from there into a folder to train with."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types
from PIL import Image

from monitoring.correction_folder import read_corrections
from monitoring.corrections import main
from serving.container.container_settings import ContainerSettings
from serving.container.sink_process import SOCKET, run_sink
from tests.pictures import draw_waves, encode, make_png_bomb
from tests.serving.container.running_container import find_process
from tests.serving.container.running_proxy import RunningProxy, assert_is_problem, run_proxy
from tests.serving.container.upstream import Upstream

PHOTO = encode(draw_waves(320, 240), "JPEG", comment=b"of Ana")
FIELDS = {"label": "Banana", "who": "ana", "version": "2.0.0", "answer": "Plum"}
_START_S = 30


@contextmanager
def run_sink_and_proxy(folder: Path, upstream: str, uri: str, **settings: Any) -> Iterator[RunningProxy]:
    """Run both while the block does; the sink's log goes to *folder*/sink.log."""
    with run_proxy(folder, upstream, corrections_uri=uri, **settings) as proxy, (folder / "sink.log").open("wb") as log:
        run_folder = folder / "run"
        with run_sink(ContainerSettings(run_folder=run_folder, corrections_uri=uri), log.fileno()):
            wait_for(lambda: (run_folder / SOCKET).exists())
            yield proxy


def wait_for(happened: Any) -> None:
    deadline = time.monotonic() + _START_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "corrections"


@pytest.fixture
def sink(nginx: None, upstream: Upstream, tmp_path: Path, place: Path) -> Iterator[RunningProxy]:
    with run_sink_and_proxy(tmp_path, upstream.url, str(place)) as running:
        yield running


def post(proxy: RunningProxy, photo: bytes = PHOTO, name: str = "a.jpg", **fields: str) -> httpx.Response:
    headers = {"X-API-Key": "key"}
    files = {"photo": (name, photo, "image/jpeg")}
    return httpx.post(f"{proxy.url}/corrections", data=FIELDS | fields, files=files, headers=headers, timeout=30)


def test_a_posted_correction_is_collected_to_train_with(sink: RunningProxy, place: Path, tmp_path: Path) -> None:
    response = post(sink)
    main([str(tmp_path / "mine"), "--from", str(place)])

    digest = hashlib.sha256(PHOTO).hexdigest()
    assert (response.status_code, response.json()) == (201, {"digest": digest, "label": "Banana"})
    kept = read_corrections(tmp_path / "mine")[0]
    assert (kept.digest, kept.label, kept.who, kept.version, kept.answer) == (digest, *FIELDS.values())
    with Image.open(tmp_path / "mine" / kept.photo) as image:
        assert (image.size, "comment" in image.info) == ((320, 240), False)


def test_a_bucket_keeps_corrections(nginx: None, upstream: Upstream, bucket: storage.Bucket, tmp_path: Path) -> None:
    uri = f"gs://{bucket.name}/said"
    with run_sink_and_proxy(tmp_path, upstream.url, uri) as sink:
        response = post(sink)
    main([str(tmp_path / "mine"), "--from", uri])

    assert response.status_code == 201
    assert [correction.label for correction in read_corrections(tmp_path / "mine")] == ["Banana"]


@pytest.mark.parametrize(
    ("photo", "fields", "status", "kind"),
    [
        (make_png_bomb(40_000), {}, 413, "too-large"),
        (b"#!/bin/sh\nrm -r /\n", {}, 415, "not-a-photo"),
        (b"", {}, 400, "malformed-request"),
        (PHOTO[:900], {}, 422, "unusable-photo"),
        (PHOTO, {"label": ""}, 400, "malformed-request"),
        (PHOTO, {"label": "=cmd()"}, 400, "malformed-request"),
        (PHOTO, {"who": "a\nb"}, 400, "malformed-request"),
        (PHOTO, {"label": "x" * 2000}, 400, "malformed-request"),
    ],
)
def test_a_hostile_correction_is_refused_and_nothing_is_kept(
    photo: bytes, fields: dict[str, str], status: int, kind: str, sink: RunningProxy, place: Path
) -> None:
    assert_is_problem(post(sink, photo, **fields), status, kind)

    assert not place.exists()
    assert post(sink).status_code == 201


def test_a_script_as_file_name_is_not_used(sink: RunningProxy, place: Path) -> None:
    post(sink, name="../../<script>.sh")

    assert [path.name for path in (place / "photos").iterdir()] == [f"{hashlib.sha256(PHOTO).hexdigest()}.jpg"]


@pytest.mark.parametrize(
    "body", [b"", b"photo", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--"]
)
@pytest.mark.parametrize("media_type", ["multipart/form-data; boundary=x", "multipart/form-data", "image/jpeg", ""])
def test_a_body_that_is_no_form_is_refused(body: bytes, media_type: str, sink: RunningProxy) -> None:
    response = httpx.post(f"{sink.url}/corrections", content=body, headers={"Content-Type": media_type})

    assert response.status_code in (400, 415)


def test_a_body_beyond_the_limit_never_reaches_the_sink(sink: RunningProxy, place: Path) -> None:
    assert_is_problem(post(sink, b"\0" * 17 * 2**20), 413, "too-large")
    assert not place.exists()


def test_other_methods_are_refused(sink: RunningProxy) -> None:
    refused = httpx.get(f"{sink.url}/corrections")

    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


def test_many_corrections_at_once_are_limited_and_predictions_are_not(sink: RunningProxy) -> None:
    with ThreadPool(16) as pool:
        statuses = pool.map(lambda _: post(sink, b"").status_code, range(128))

    assert set(statuses) == {400, 429}
    assert httpx.post(f"{sink.url}/predictions/fruity", content=b"photo").status_code == 200


def test_without_a_key_nothing_is_kept(nginx: None, upstream: Upstream, tmp_path: Path, place: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"bob {hashlib.sha256(b'key').hexdigest()}\n")
    with run_sink_and_proxy(tmp_path, upstream.url, str(place), api_keys=keys) as sink:
        refused = httpx.post(f"{sink.url}/corrections", data=FIELDS, files={"photo": PHOTO})
        accepted = post(sink, who="")

    assert (refused.status_code, accepted.status_code) == (401, 201)
    corrections = [json.loads(path.read_text()) for path in (place / "received").iterdir()]
    assert [correction["who"] for correction in corrections] == ["bob"]


def test_without_corrections_uri_the_path_is_not_found(proxy: RunningProxy) -> None:
    assert_is_problem(post(proxy), 404, "not-found")


def test_a_full_disk_is_a_503_and_the_sink_goes_on(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, in which no folder can be made")
    with run_sink_and_proxy(tmp_path, upstream.url, str(blocked)) as sink:
        refused = post(sink)
        blocked.unlink()
        accepted = post(sink)

    assert_is_problem(refused, 503, "unavailable")
    assert accepted.status_code == 201
    assert "could not be written" in (tmp_path / "sink.log").read_text()


def test_a_killed_sink_is_started_again_and_serving_goes_on(sink: RunningProxy) -> None:
    os.kill(find_process(os.getpid(), "monitoring.sink"), signal.SIGKILL)

    assert_is_problem(post(sink), 503, "busy")
    assert httpx.post(f"{sink.url}/predictions/fruity", content=b"photo").status_code == 200
    wait_for(lambda: post(sink).status_code == 201)


def test_a_sink_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.executable", "/absent/python")

    with run_sink(ContainerSettings(run_folder=tmp_path, corrections_uri=str(tmp_path)), 2):
        wait_for(lambda: "cannot be started (No such file or directory), it is tried again" in capfd.readouterr().out)
