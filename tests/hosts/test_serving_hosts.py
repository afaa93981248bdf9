"""Two hosts behind the balancer: one of them is cut off, killed, frozen, slowed or replaced, and no client notices."""

import signal
import time
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from benchmarks.endpoint import Endpoint, Photo
from benchmarks.scenarios import MIDDLE, make_photos
from model_archive.archive_registry import open_registry
from serving.model_store import DEFAULT_ARCHIVES
from tests.hosts.network import Host
from tests.hosts.results import Results
from tests.hosts.serving_site import Server, Site, Trial, run_site
from tests.serving.container.running_proxy import PREDICT

# Longer than the balancer's proxy_read_timeout.
_FAULT_S = 22.0
_SLOW_S = 10.0
_BOTH_S = 15.0
_OLD, _NEW = "1.0.0", "2.0.0"

pytestmark = [pytest.mark.hosts, pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(nginx: None, hosts: tuple[Host, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    switch, first, second = hosts
    for version in (_OLD, _NEW):
        open_registry(str(folder / "registry")).publish(DEFAULT_ARCHIVES / f"fruity-{version}.mar")
    with run_site(folder, switch, (first, second), folder / "registry", _OLD) as running:
        yield running


@cache
def make_photo() -> Photo:
    return make_photos()[MIDDLE][0]


@pytest.fixture
def record(results: Results) -> Callable[[str, Trial], Trial]:
    """Note what a fault did."""

    def note(fault: str, trial: Trial) -> Trial:
        recovered = "not" if trial.recovered_s is None else f"{trial.recovered_s:.1f} s"
        row = fault, f"{trial.requests:,}", str(sum(trial.failed.values())), f"{trial.longest_s:.2f} s", recovered
        results.serving.append(row)
        return trial

    return note


def measure(site: Site, fault: Callable[[Server], None]) -> Trial:
    """Return what clients saw of *fault* of the first host; every answer must name the right label."""
    photo = make_photo()
    label, *others = site.ask(photo.body)
    endpoint = Endpoint(f"{site.url}{PREDICT}", labels=frozenset([label, *others]))
    return site.try_fault(endpoint, Photo(photo.name, photo.body, label), lambda: fault(site.servers[0]))


def assert_both_answer(site: Site) -> None:
    """Assert that each host answers requests again, soon after the balancer's fail_timeout."""
    before = [server.num_answered() for server in site.servers]
    deadline = time.monotonic() + _BOTH_S
    while any(server.num_answered() == count for server, count in zip(site.servers, before, strict=True)):
        assert time.monotonic() < deadline, "one host gets no requests"
        site.ask(make_photo().body)
        time.sleep(0.2)


def cut_off(server: Server) -> None:
    server.host.cut_off()
    time.sleep(_FAULT_S)
    server.host.plug_in()


def freeze(server: Server) -> None:
    server.signal_all(signal.SIGSTOP)
    time.sleep(_FAULT_S)
    server.signal_all(signal.SIGCONT)


def slow_down(server: Server) -> None:
    server.host.slow_down(kbit=256)
    time.sleep(_SLOW_S)
    server.host.speed_up()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (f"cut off: its packets vanish for {_FAULT_S:.0f} s", cut_off),
        (f"frozen: all of its processes stop for {_FAULT_S:.0f} s", freeze),
        (f"slowed: 256 kbit/s to it for {_SLOW_S:.0f} s", slow_down),
    ],
    ids=["cut off", "frozen", "slowed"],
)
def test_no_request_fails_while_a_host_has_a_fault_and_it_answers_again_after_it(
    site: Site, record: Callable[[str, Trial], Trial], name: str, fault: Callable[[Server], None]
) -> None:
    trial = record(name, measure(site, fault))

    assert trial.failed == {}
    assert trial.requests > 100
    assert_both_answer(site)


def test_no_request_fails_when_a_host_is_killed_and_comes_back(
    site: Site, record: Callable[[str, Trial], Trial]
) -> None:
    def kill(server: Server) -> None:
        server.signal_all(signal.SIGKILL)
        server.container.process.wait()
        server.start(site.uri(_OLD))
        server.wait_until_ready()

    trial = record("killed: SIGKILL for all of its processes, then started", measure(site, kill))

    assert trial.failed == {}
    assert_both_answer(site)


def test_no_request_fails_when_both_hosts_get_another_version_one_after_the_other(
    site: Site, record: Callable[[str, Trial], Trial]
) -> None:
    def roll() -> None:
        for server in site.servers:
            assert server.drain() == 0
            server.start(site.uri(_NEW))
            server.wait_until_ready()

    trial = record(
        f"rolled: both drained and started with {_NEW}, one after the other",
        site.try_fault(Endpoint(f"{site.url}{PREDICT}"), make_photo(), roll),
    )

    assert trial.failed == {}
    assert {trial.versions[0], trial.versions[-1]} == {_OLD, _NEW}
    assert_both_answer(site)
