import resource

import pytest

from handler.problem import MalformedRequest, NotAPhoto, UnusablePhoto
from tests.handler.emitted_metrics import Emitted, emitted, make_monitor, record
from tests.handler.observations import APPLE, CHERRY, UNSURE_APPLE, observe
from tests.specs import make_spec

UNFAMILIAR_APPLE = UNSURE_APPLE._replace(unfamiliarity=1.5)


def buckets(found: Emitted, name: str) -> dict[str, float]:
    return {key[1]: value for key, value in found.items() if key[0] == f"{name}_bucket"}


def test_requests_and_photos_are_counted_by_what_came_of_them(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()

    record(monitor, observe(APPLE), observe(CHERRY), NotAPhoto("text"))
    record(monitor, observe(UNSURE_APPLE), explain=True)
    record(monitor, UnusablePhoto("broken"), NotAPhoto("text"))
    record(monitor, MalformedRequest("top_k"))
    monitor.emit()

    names = ("fruity_requests_total", "fruity_photos_total", "fruity_labels_total", "fruity_media_types_total")
    assert emitted(log, *names) == {
        ("fruity_requests_total", "predictions", "answered"): 1,
        ("fruity_requests_total", "explanations", "answered"): 1,
        ("fruity_requests_total", "predictions", "refused"): 2,
        ("fruity_photos_total", "confident"): 2,
        ("fruity_photos_total", "unsure"): 1,
        ("fruity_photos_total", "not-a-photo"): 2,
        ("fruity_photos_total", "unusable-photo"): 1,
        ("fruity_photos_total", "malformed-request"): 1,
        ("fruity_labels_total", "apple"): 2,
        ("fruity_labels_total", "cherry"): 1,
        ("fruity_media_types_total", "image/jpeg"): 3,
    }


def test_unfamiliar_photos_are_counted(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()

    record(monitor, observe(UNFAMILIAR_APPLE), observe(APPLE._replace(unfamiliarity=0.9)), observe(UNFAMILIAR_APPLE))
    monitor.emit()

    found = emitted(log)
    assert found["fruity_unfamiliar_total",] == 2
    assert (found["fruity_unfamiliarity_sum",], found["fruity_unfamiliarity_count",]) == (3.9, 3)


def test_a_histogram_is_emitted_as_prometheus_has_it_each_bucket_with_those_below(
    log: pytest.LogCaptureFixture,
) -> None:
    monitor = make_monitor()

    monitor.record_batch(3, decode_seconds=[0.0004, 0.0005, 0.003, 99.0], inference_seconds=0.02, handler_seconds=0.5)
    monitor.emit()

    found = emitted(log)
    assert found["fruity_decode_seconds_sum",] == pytest.approx(99.0039)
    assert found["fruity_decode_seconds_count",] == 4
    counts = list(buckets(found, "fruity_decode_seconds").items())
    assert counts[:4] == [("0.0005", 2), ("0.001", 2), ("0.0025", 2), ("0.005", 3)]
    assert counts[-2:] == [("10.0", 3), ("+Inf", 4)]
    assert buckets(found, "fruity_batch_photos")["3.0"] == 1
    assert "2.0" not in buckets(found, "fruity_batch_photos")
    assert found["fruity_inference_seconds_sum",] == 0.02
    assert found["fruity_handler_seconds_sum",] == 0.5


def test_a_batch_of_only_refused_requests_has_no_inference(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()

    monitor.record_batch(0, decode_seconds=[], inference_seconds=0.0, handler_seconds=0.001)
    monitor.emit()

    found = emitted(log)
    assert found["fruity_handler_seconds_count",] == 1
    assert ("fruity_inference_seconds_count",) not in found
    assert ("fruity_batch_photos_count",) not in found


def test_the_number_of_lines_does_not_grow_with_the_photos(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()
    record(monitor, observe(APPLE))
    monitor.emit()
    num_of_one = len(log.records)
    log.clear()

    for _ in range(100):
        record(monitor, observe(APPLE))
    monitor.emit()

    assert len(log.records) == num_of_one
    assert emitted(log)["fruity_photos_total", "confident"] == 100


def test_what_was_emitted_is_not_emitted_again(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()
    record(monitor, observe(APPLE))
    monitor.emit()
    log.clear()

    monitor.emit()

    assert {name for name, *_ in emitted(log)} == {"fruity_worker_memory_bytes"}


def test_photos_are_counted_by_the_bins_of_the_reference(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()

    record(monitor, observe(APPLE, brightness=0.1), observe(UNSURE_APPLE, brightness=0.5), observe(CHERRY))
    monitor.emit()

    # The archive of these photos cannot tell how unfamiliar they are.
    assert {key[1:]: value for key, value in emitted(log, "fruity_reference_bin_total").items()} == {
        ("label", "apple"): 2,
        ("label", "cherry"): 1,
        ("confidence", "0"): 1,
        ("confidence", "1"): 2,
        ("brightness", "0"): 1,
        ("brightness", "2"): 2,
        **{(name, "0"): 3 for name in ("entropy", "contrast", "sharpness", "anisotropy")},
    }


def test_labels_that_torchserve_would_take_apart_are_counted(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor(None, make_spec(("fish, fried: hot|cold", "a\nb", "cherry", "not food")))

    record(monitor, observe(APPLE), observe(CHERRY._replace(class_indices=(1, 0, 2, 3))))
    monitor.emit()

    assert emitted(log, "fruity_labels_total") == {
        ("fruity_labels_total", "fish fried hot cold"): 1,
        ("fruity_labels_total", "a b"): 1,
    }


def test_a_worker_tells_its_memory_from_that_of_the_others(log: pytest.LogCaptureFixture) -> None:
    make_monitor().emit()

    ((key, num_bytes),) = emitted(log).items()
    assert key == ("fruity_worker_memory_bytes", "1")
    assert 1e7 < num_bytes < 1e11


def test_a_worker_on_a_gpu_also_tells_what_it_holds_there(log: pytest.LogCaptureFixture) -> None:
    make_monitor(gpu_bytes=2**31).emit()

    assert emitted(log, "fruity_worker_gpu_memory_bytes") == {("fruity_worker_gpu_memory_bytes", "1"): 2**31}


def test_without_a_free_descriptor_the_sums_are_emitted(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()
    record(monitor, observe(APPLE))
    free = resource.getrlimit(resource.RLIMIT_NOFILE)

    resource.setrlimit(resource.RLIMIT_NOFILE, (0, free[1]))
    try:
        monitor.emit()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, free)

    assert emitted(log, "fruity_requests_total") == {("fruity_requests_total", "predictions", "answered"): 1}
