"""A benchmark's run with round figures."""

from benchmarks.bench_results import CEILING, Machine, Run, ScenarioResult, Trial
from benchmarks.scenarios import CAPACITY, ONE_CLIENT, PHONE_CLIENT, Scenario

MACHINE = Machine(cpu="Test CPU", instruction_sets=["avx512_vnni", "avx2"], cores=2, memory_gb=8.0, system="Linux")


def make_result(
    scenario: Scenario, speed: float, p50_ms: float | None = None, errors: dict[str, int] | None = None
) -> ScenarioResult:
    latencies_ms = {f"p{percent}_ms": p50_ms * n for n, percent in ((1, 50), (2, 95), (3, 99))} if p50_ms else {}
    cpu_ms = 2000 / speed
    return ScenarioResult(
        name=scenario.name, photos_per_s=speed, cpu_ms_per_photo=cpu_ms, errors=errors or {}, **latencies_ms
    )


def make_trial(name: str, way: str, number: int, speed: float, *, one_client_ms: float = 4.0, cores: int = 2) -> Trial:
    """Return a trial with *speed* photos/s at capacity and a p50 of *one_client_ms* for one client."""
    if way == CEILING:
        results = [make_result(scenario, speed) for scenario in (CAPACITY, PHONE_CLIENT)]
        return Trial(name=name, way=way, cores=cores, round=number, results=results)
    one_client, phone = make_result(ONE_CLIENT, 200, one_client_ms), make_result(PHONE_CLIENT, 50, 3 * one_client_ms)
    results = [make_result(CAPACITY, speed, 10.0), one_client, phone]
    return Trial(name=name, way=way, cores=cores, round=number, results=results, start_s=speed / 100, pss_mb=400.0)


def make_run(rounds: int = 3) -> Run:
    """Return fruity at 480, 500 and 520 photos/s beside a ceiling of 500 and peers of 400, 250 and 25."""
    trials = []
    for number in range(rounds):
        trials += [
            make_trial("fruity", "fruity", number, 480 + 20 * number),
            make_trial("FastAPI", "same engine", number, 400, one_client_ms=5.0),
            make_trial("LitServe", "same engine", number, 250),
            make_trial("FastAPI", "usual way", number, 25),
            make_trial("no server, batch 4", CEILING, number, 500),
            make_trial("no server, eager PyTorch", CEILING, number, 25),
            make_trial("fruity", "fruity", number, 260, cores=1),
        ]
    trials.sort(key=lambda trial: (trial.name, trial.way, trial.archive, trial.cores))
    return Run(date="2026-01-02", machine=MACHINE, rounds=rounds, seconds=2, trials=trials)
