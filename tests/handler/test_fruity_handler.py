import base64
import io
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler import fruity_handler
from handler.engine import EngineError, Outputs, Photos
from handler.settings import SettingsError
from handler.spec import SpecError
from handler.worker_activity import WorkerActivity
from tests.handler.worker import Worker, first_labels, instances, raw, replaced_engine
from tests.pictures import draw_corners, encode


class FailingEngine:
    def run(self, photos_BHWC: Photos, *, others_idle: bool = False) -> Outputs:
        raise MemoryError("a bug")


class CountingEngine:
    """Gives every photo the first label; notes the size of each batch, and whether the other workers were idle."""

    def __init__(self, num_labels: int) -> None:
        self.batches: list[int] = []
        self.others_idle: list[bool] = []
        self._logits_K = np.arange(num_labels, 0, -1, dtype=np.float32)

    def run(self, photos_BHWC: Photos, *, others_idle: bool = False) -> Outputs:
        self.batches.append(len(photos_BHWC))
        self.others_idle.append(others_idle)
        return Outputs(np.tile(self._logits_K, (len(photos_BHWC), 1)), np.zeros((len(photos_BHWC), 2), np.float32))

    def gpu_memory_bytes(self) -> None:
        return None


@pytest.fixture(scope="module")
def worker(default_folder: Path) -> Worker:
    return Worker(default_folder)


def test_a_coffee_is_an_espresso_and_a_cat_is_not_food(worker: Worker, coffee: bytes, cat: bytes) -> None:
    of_coffee, of_cat = worker.answer(raw(coffee), raw(cat))

    assert (of_coffee.code_and_phrase, of_coffee.content_type) == ((200, "OK"), "application/json")
    answer = json.loads(of_coffee.body)
    assert (answer["model"], answer["version"]) == ("fruity", "1.2.3")
    (entry,) = answer["predictions"]
    assert (entry["photo"], entry["confident"], len(entry["labels"])) == ("body", True, 5)
    assert entry["labels"][0]["label"] == "espresso"
    assert entry["labels"][0]["probability"] > 0.8
    assert first_labels(of_cat) == ["not food"]


def test_good_and_bad_requests_of_a_batch_keep_their_order_and_answers(
    worker: Worker, coffee: bytes, cat: bytes
) -> None:
    responses = worker.answer(
        raw(b"text"),
        raw(coffee),
        raw(coffee, **{"X-Top-K": "0"}),
        instances(cat, b"", coffee, top_k=1),
        raw(coffee[:10_000]),
        ({}, {"Content-Type": "multipart/form-data; boundary=x"}),
        ({"left": bytearray(cat), "top_k": bytearray(b"2")}, {"Content-Type": "multipart/form-data; boundary=x"}),
    )

    assert [response.status for response in responses] == [415, 200, 400, 200, 422, 400, 200]
    assert [response.content_type for response in responses] == [
        "application/json" if response.status == 200 else "application/problem+json" for response in responses
    ]
    assert first_labels(responses[1]) == ["espresso"]
    assert first_labels(responses[3]) == ["not food", "error 400", "espresso"]
    assert first_labels(responses[6]) == ["not food"]
    assert [len(entry["labels"]) for entry in json.loads(responses[6].body)["predictions"]] == [2]


def test_a_request_to_describe_the_model_gets_its_labels_and_input(worker: Worker, coffee: bytes) -> None:
    described, answered = worker.answer(({"body": bytearray()}, {"describe": "True"}), raw(coffee))

    description = json.loads(described.body)
    assert (described.status, answered.status) == (200, 200)
    assert (description["model"], description["input_size"]) == ("fruity", 224)
    assert len(description["labels"]) == 60
    assert first_labels(answered)[0] in description["labels"]


def test_a_batch_of_only_refused_requests_does_not_run_the_engine(worker: Worker) -> None:
    with replaced_engine(worker, FailingEngine()):
        responses = worker.answer(raw(b""), raw(b"text"))

    assert [response.status for response in responses] == [400, 415]


def test_photos_share_engine_batches_of_at_most_the_batch_size(default_folder: Path, worker: Worker) -> None:
    photo = encode(draw_corners())
    engine = CountingEngine(num_labels=60)

    with replaced_engine(worker, engine):
        worker.answer(instances(photo, photo, photo), raw(photo), instances(photo, photo))

    assert engine.batches == [4, 2]


@pytest.mark.parametrize(
    ("batch_size", "largest", "cpus", "settings", "threads"),
    [(4, 4, 8, {"threads": 2}, 2), (1, 1, 9, {}, 4), (None, 1, 1, {}, 1), (1, 1, 3, {"min_workers": 0}, 3)],
)
def test_every_batch_size_is_run_before_the_first_request_on_the_workers_share_of_the_cpus(
    default_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int | None,
    largest: int,
    cpus: int,
    settings: dict[str, int],
    threads: int,
) -> None:
    monkeypatch.setattr(fruity_handler, "count_cpus", lambda: cpus)
    engine = CountingEngine(num_labels=60)
    loads: list[tuple[object, ...]] = []

    def load(*arguments: object) -> CountingEngine:
        loads.append(arguments)
        return engine

    monkeypatch.setattr(fruity_handler, "load_engine", load)

    Worker(default_folder, batch_size, gpu=3, precision="float32", **settings)

    assert loads == [(default_folder, "auto", threads, 3, "float32")]
    assert sorted(set(engine.batches)) == list(range(1, largest + 1))
    idle = {batch for batch, others_idle in zip(engine.batches, engine.others_idle, strict=True) if others_idle}
    assert idle == set(range(1, largest // 2 + 1))


def test_the_engine_learns_whether_the_other_workers_are_idle(
    default_folder: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    other = WorkerActivity(default_folder, os.getpid() + 1)
    engine = CountingEngine(num_labels=60)

    with replaced_engine(worker, engine):
        with other.busy():
            worker.answer(raw(encode(draw_corners())))
        worker.answer(raw(encode(draw_corners())))

    assert engine.others_idle == [False, True]


def test_a_bug_is_raised_and_not_answered(worker: Worker, coffee: bytes) -> None:
    with replaced_engine(worker, FailingEngine()), pytest.raises(MemoryError, match="a bug"):
        worker.answer(raw(coffee))


def test_a_bug_is_logged_with_the_ids_of_the_requests_that_it_cost(
    worker: Worker, coffee: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with replaced_engine(worker, FailingEngine()), pytest.raises(MemoryError):
        worker.answer(raw(coffee), raw(coffee, **{"X-Request-Id": "of-the-proxy"}))

    (record,) = [record for record in caplog.records if record.name == "handler.fruity_handler"]
    assert (record.levelname, record.args) == ("ERROR", ("request-0, of-the-proxy",))


def test_an_explanation_adds_a_heatmap_of_the_models_size(worker: Worker, coffee: bytes, cat: bytes) -> None:
    _, explained, predicted, _ = worker.answer(
        raw(cat), raw(coffee, explain="True"), raw(coffee), raw(cat, explain="True")
    )

    (entry,) = json.loads(explained.body)["predictions"]
    heatmap = Image.open(io.BytesIO(base64.b64decode(entry.pop("heatmap_png"))))
    assert (heatmap.format, heatmap.mode, heatmap.size) == ("PNG", "L", (224, 224))
    # The cup is in the middle, the table's edge in the corners.
    pixels_HW = np.asarray(heatmap).astype(int)
    assert pixels_HW[80:150, 80:150].mean() > pixels_HW[:30, :30].mean() + 50
    assert [entry] == json.loads(predicted.body)["predictions"]


def test_an_explanation_is_the_overlay_if_the_client_accepts_a_picture(worker: Worker, coffee: bytes) -> None:
    predicted, explained, refused = worker.answer(
        raw(coffee), raw(coffee, explain="True", Accept="image/png"), raw(b"text", explain="True", Accept="image/png")
    )

    assert (explained.status, explained.content_type) == (200, "image/png")
    image = Image.open(io.BytesIO(explained.body))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (224, 224))
    assert first_labels(predicted) == ["espresso"]
    assert (refused.status, refused.content_type) == (415, "application/problem+json")


def test_limits_come_from_the_model_configuration(default_folder: Path, coffee: bytes) -> None:
    worker = Worker(default_folder, default_top_k=2, limits={"max_photo_bytes": 1000, "max_photos": 2})

    large, small, many = worker.answer(raw(coffee), raw(encode(draw_corners())), instances(b"", b"", b""))

    assert (large.status, small.status, many.status) == (413, 200, 413)
    assert len(json.loads(small.body)["predictions"][0]["labels"]) == 2


def test_a_worker_does_not_start_with_bad_settings_or_without_its_files(
    default_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="unknown field `treshold`"):
        Worker(default_folder, treshold=0.5)
    monkeypatch.setenv("PREDICTION_LOG", str(tmp_path))
    monkeypatch.setenv("PREDICTION_LOG_SHARE", "10 %")
    with pytest.raises(SettingsError, match="PREDICTION_LOG_SHARE is '10 %'"):
        Worker(default_folder)
    with pytest.raises(SpecError, match=r"spec\.json does not exist"):
        Worker(tmp_path)
    with pytest.raises(EngineError, match="no torch engine"):
        Worker(default_folder, engine="torch")


def test_the_worker_logs_only_warnings_and_metrics(worker: Worker) -> None:
    assert logging.getLogger().level == logging.WARNING
    assert logging.getLogger("ts.metrics.caching_metric").isEnabledFor(logging.INFO)
