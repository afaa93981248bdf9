import shutil
import sys
from pathlib import Path
from statistics import median

import pytest

from benchmarks.capacity.container_rates import CLIENTS, SHARES, MeasuringPlan, measure
from benchmarks.scenarios import MIDDLE, PHONE


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx", path="/usr/sbin") is None, reason="nginx is not installed")
def test_the_containers_rates_and_service_times_are_measured() -> None:
    plan = MeasuringPlan(rounds=1, starts=1, warm_up_s=1.0, closed_s=1.5, durations_s=12.0, open_s=2.0)

    measured = measure(Path(sys.executable), plan)

    loops = {(loop.photos, loop.cores, loop.clients): loop for loop in measured.closed}
    cores = measured.machine.cores
    assert set(loops) == {(MIDDLE, cores, clients) for clients in CLIENTS} | {(PHONE, cores, 16), (MIDDLE, 1, 16)}
    assert loops[MIDDLE, cores, 1].photos_per_batch == pytest.approx(1.0, abs=0.05)
    assert 2 < loops[MIDDLE, cores, 16].photos_per_batch <= measured.batch_size
    assert loops[PHONE, cores, 16].cpu_ms_per_photo > loops[MIDDLE, cores, 16].cpu_ms_per_photo
    assert [(loop.share, len(loop.p99_ms)) for loop in measured.open] == [(share, 1) for share in SHARES]
    assert measured.photo_bytes[PHONE] > 10 * measured.photo_bytes[MIDDLE]
    assert (measured.workers, measured.queue_size, len(measured.start_s)) == (2, 100, 1)
    for times_ms in (measured.service.busy_ms, measured.service.idle_ms):
        assert median(times_ms[0]) < median(times_ms[-1])
