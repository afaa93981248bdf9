import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.anatomy import JAVA, PARTS, REST, _read_stacks, share_of_parts
from benchmarks.entries import BenchError
from benchmarks.plot import draw_anatomy
from benchmarks.results import Anatomy, describe_machine

SERVICE = "<module> (ts/model_service_worker.py:304);predict (ts/service.py:134);handle (handler/fruity_handler.py:57)"


def test_samples_are_summed_by_what_the_worker_was_doing() -> None:
    shares = share_of_parts(
        [
            f"{SERVICE};run (handler/openvino_engine.py:60);infer (openvino/_ov_api.py:12) 50",
            f"{SERVICE};preprocess_photo (handler/preprocess.py:20);load (PIL/ImageFile.py:390) 20",
            f"{SERVICE};record_batch (handler/monitor.py:50);info (logging/__init__.py:1489) 6",
            f"{SERVICE};record_batch (handler/monitor.py:50);emit_metrics (ts/metrics/caching_metric.py:93) 4",
            f"{SERVICE};read_request (handler/request.py:30) 8",
            "<module> (ts/model_service_worker.py:304);_retrieve_buffer (ts/protocol/otf_message_handler.py:165) 10",
            "sleep (events/ts.py:3) 2",
        ]
    )

    assert shares == {
        "network": 0.5,
        "decoding": 0.2,
        "metrics": 0.1,
        "TorchServe's protocol": 0.1,
        REST: 0.1,
    }


def test_a_profiler_that_saw_nothing_gives_no_shares() -> None:
    with pytest.raises(BenchError, match="saw nothing"):
        share_of_parts([])


def test_a_profiler_that_may_not_look_is_said_with_its_reason(tmp_path: Path) -> None:
    refused = [sys.executable, "-c", "import sys; sys.exit('Error: Permission denied')"]
    watcher = subprocess.Popen(refused, stderr=subprocess.PIPE, text=True)

    with pytest.raises(BenchError, match="takes the right to trace processes: Error: Permission denied"):
        _read_stacks(psutil.Process(), watcher, tmp_path)


def test_the_picture_names_every_part(tmp_path: Path) -> None:
    parts = dict.fromkeys((*PARTS, REST, JAVA), 1.5)

    draw_anatomy(
        Anatomy(date="2026-11-24", machine=describe_machine(), parts_ms=parts, ceiling_ms=7.0), tmp_path / "one.svg"
    )

    drawn = (tmp_path / "one.svg").read_text()
    assert all(f"{part} 1.50" in drawn for part in parts)
    assert "9.0 ms" in drawn
