"""One request through proxy, TorchServe and the handler's stages, as spans of one trace."""

import re
import sys
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from benchmarks.server_process import free_ports
from serving.container import supervisor
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.json_log import log_pipe
from serving.container.proxy import Proxy
from tests.end_to_end.photos import coffee
from tests.serving.container.running_container import run_container
from tests.serving.container.running_proxy import PREDICT, run_proxy
from tests.serving.container.upstream import Upstream
from tests.trace_collector import run_collector

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OWN = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-0([01])")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")


def forwarded(upstream: Upstream) -> str:
    headers: dict[str, str] = upstream.requests[-1]["headers"]
    return headers.get("traceparent", "")


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_clients_trace_is_passed_on_with_the_span_of_the_proxy(
    flags: str, nginx: None, upstream: Upstream, tmp_path: Path
) -> None:
    with run_proxy(tmp_path, upstream.url, otel_exporter_otlp_endpoint="http://127.0.0.1:1") as proxy:
        httpx.post(f"{proxy.url}{PREDICT}", content=b"photo", headers={"traceparent": f"00-{TRACE}-{SPAN}-{flags}"})
        (line,) = proxy.logged(1)

    assert (match := OWN.fullmatch(forwarded(upstream)))
    assert (match[1], match[3]) == (TRACE, flags[1])
    assert match[2] != SPAN
    assert (line["traceparent"], line["parent_span"]) == (match[0], SPAN)


@pytest.mark.parametrize("sent", ["", "01-" + TRACE, f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01; x", "a" * 999])
@pytest.mark.parametrize(("share", "flags"), [(1.0, "1"), (0.0001, "0")])
def test_a_request_without_a_valid_trace_begins_one_of_which_a_share_is_kept(
    sent: str, share: float, flags: str, nginx: None, upstream: Upstream, tmp_path: Path
) -> None:
    settings = {"otel_exporter_otlp_endpoint": "http://127.0.0.1:1", "otel_traces_sampler_arg": share}
    with run_proxy(tmp_path, upstream.url, **settings) as proxy:
        httpx.post(f"{proxy.url}{PREDICT}", content=b"photo", headers={"traceparent": sent} if sent else {})
        (line,) = proxy.logged(1)

    assert (match := OWN.fullmatch(forwarded(upstream)))
    assert match[1] != TRACE
    assert match[3] == flags
    assert line["parent_span"] == ""


def test_without_the_setting_log_and_requests_have_no_trace(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    with run_proxy(tmp_path, upstream.url) as proxy:
        httpx.post(f"{proxy.url}{PREDICT}", content=b"photo")
        (line,) = proxy.logged(1)

    assert forwarded(upstream) == ""
    assert not {"traceparent", "parent_span", "end_s"} & line.keys()


def test_the_proxys_span_has_the_requests_time_and_status(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    with run_collector() as collector, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        settings = ContainerSettings(
            port=free_ports(1)[0], run_folder=tmp_path, otel_exporter_otlp_endpoint=collector.url
        )
        with log_pipe("nginx", *supervisor.open_spans(settings)) as output, Proxy(settings, upstream.url, output):
            headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
            httpx.post(f"http://127.0.0.1:{settings.port}/predictions/fruity", content=b"photo", headers=headers)
            httpx.get(f"http://127.0.0.1:{settings.port}/secret", headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
            upstream.statuses.extend([500] * 3)
            httpx.post(f"http://127.0.0.1:{settings.port}/predictions/fruity", content=b"photo", headers=headers)
            answered, failed = collector.wait_for(lambda spans: len(spans) == 2)

    assert (answered.name, answered.kind) == ("POST /predictions/fruity", Span.SPAN_KIND_SERVER)
    assert (answered.trace_id.hex(), answered.parent_span_id.hex()) == (TRACE, SPAN)
    assert 0 <= answered.end_time_unix_nano - answered.start_time_unix_nano < 10e9
    assert (answered.status.code, failed.status.code) == (Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR)


def test_traces_without_opentelemetry_end_the_container_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serving.container.traces", None)

    with pytest.raises(ContainerExit, match="the extra `registry` has it") as ended:
        supervisor.open_spans(ContainerSettings(otel_exporter_otlp_endpoint="http://127.0.0.1:1"))
    assert ended.value.code == ExitCode.SETTING
    assert supervisor.open_spans(ContainerSettings()) == []


@pytest.mark.server
def test_a_request_is_one_trace_from_the_proxy_to_the_stages(nginx: None, tmp_path: Path) -> None:
    with (
        run_collector() as collector,
        run_container(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as container,
    ):
        files = {"a": coffee(), "b": coffee(), "c": b"text"}
        httpx.post(f"{container.url}{PREDICT}", files=files, timeout=60)
        spans = collector.wait_for(lambda spans: len(spans) == 8)

    by_name = {name: [span for span in spans if span.name == name] for name in {span.name for span in spans}}
    (proxy,), (handler,), (inference,) = by_name[f"POST {PREDICT}"], by_name["handler"], by_name["inference"]
    # The photo that is none was looked at, too.
    assert {name: len(found) for name, found in by_name.items() if name != proxy.name} == {
        "handler": 1,
        "decode": 3,
        "preprocess": 2,
        "inference": 1,
    }
    assert len({span.trace_id for span in spans}) == 1
    assert (proxy.parent_span_id, handler.parent_span_id) == (b"", proxy.span_id)
    stages = [*by_name["decode"], *by_name["preprocess"], inference]
    assert {stage.parent_span_id for stage in stages} == {handler.span_id}
    assert all(handler.start_time_unix_nano <= stage.start_time_unix_nano for stage in stages)
    assert all(stage.end_time_unix_nano <= handler.end_time_unix_nano for stage in stages)
    assert max(stage.end_time_unix_nano for stage in stages) == inference.end_time_unix_nano
