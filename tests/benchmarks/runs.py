"""A run with round figures."""

from benchmarks.plan import CAPACITY, ONE_CLIENT, PHONE_CLIENT, Loading
from benchmarks.results import CEILING, Machine, Run, Scene, Visit

MACHINE = Machine(cpu="Test CPU", instruction_sets=["avx512_vnni", "avx2"], cores=2, memory_gb=8.0, system="Linux")


def make_scene(
    loading: Loading, photos_per_s: float, p50_ms: float = 10.0, errors: dict[str, int] | None = None
) -> Scene:
    return Scene(
        name=loading.name,
        tool="wrk",
        photos_per_s=photos_per_s,
        p50_ms=p50_ms,
        p95_ms=p50_ms * 2,
        p99_ms=p50_ms * 3,
        errors=errors or {},
        cpu_ms_per_photo=2000 / photos_per_s if photos_per_s else None,
    )


def make_visit(name: str, way: str, number: int, speed: float, *, alone_ms: float = 4.0, cores: int = 2) -> Visit:
    """Return a visit with *speed* photos/s at capacity and a p50 of *alone_ms* for one client."""
    scenes = [
        make_scene(CAPACITY, speed),
        make_scene(ONE_CLIENT, 200, alone_ms),
        make_scene(PHONE_CLIENT, 50, 3 * alone_ms),
    ]
    return Visit(name=name, way=way, cores=cores, round=number, scenes=scenes, start_s=speed / 100, pss_mb=400.0)


def make_run(rounds: int = 3) -> Run:
    """Return fruity at 480, 500 and 520 photos/s beside a ceiling of 500 and peers of 400, 250 and 25."""
    visits = []
    for number in range(rounds):
        visits += [
            make_visit("fruity", "fruity", number, 480 + 20 * number),
            make_visit("FastAPI", "same engine", number, 400, alone_ms=5.0),
            make_visit("LitServe", "same engine", number, 250),
            make_visit("FastAPI", "usual way", number, 25),
            Visit(
                name="no server, batch 4",
                way=CEILING,
                cores=2,
                round=number,
                scenes=[Scene(name=CAPACITY.name, tool=CEILING, photos_per_s=500, cpu_ms_per_photo=4)],
            ),
            make_visit("fruity", "fruity", number, 260, cores=1),
        ]
    visits.sort(key=lambda visit: visit.row)
    return Run(date="2026-01-02", machine=MACHINE, rounds=rounds, seconds=2, visits=visits)
