"""The plan for the day when TorchServe cannot be kept: the archive behind another server passes the same tests."""

import shutil
import sys
from collections.abc import Iterator

import httpx
import pytest

from benchmarks.endpoint import Endpoint, Photo
from benchmarks.server_process import free_ports, run_server
from serving.model_store import DEFAULT_ARCHIVE, ROOT
from tests.end_to_end.conftest import check_described
from tests.end_to_end.photos import ESPRESSO, coffee
from tests.end_to_end.server import READY_S
from tests.end_to_end.test_protocols import (  # noqa: F401  run here with the fixtures below
    VERTEX_AI_ROUTES,
    client,
    test_the_requests_of_kserves_client_get_their_answers,
    test_tritonclient_gets_readiness_metadata_and_labels,
    test_tritonclient_sends_and_gets_json_too,
    test_tritonclient_understands_the_errors,
    test_vertex_ai_gets_readiness_and_predictions_at_its_routes,
)
from tests.end_to_end.test_requests import (  # noqa: F401
    test_a_bad_request_is_a_problem_and_the_next_one_is_answered,
    test_a_chunked_body_is_read_whole,
    test_an_answer_says_where_its_time_went,
    test_an_explanation_has_a_heatmap_of_what_decided_or_is_the_picture_itself,
    test_an_unknown_version_is_not_found,
    test_each_photo_gets_its_label_or_its_own_error,
    test_each_photo_is_answered_under_its_name_with_top_k_labels,
    test_one_picture_of_two_photos_is_refused,
    test_the_content_type_does_not_change_the_answer,
    test_the_format_does_not_change_the_answer,
)
from tests.serving.container.running_proxy import RunningProxy, run_proxy

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The committed archive behind uvicorn."""
    folder, [port] = tmp_path_factory.mktemp("archive"), free_ports(1)
    shutil.copy(DEFAULT_ARCHIVE, folder)
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "--log-level", "warning"]
    command += ["--factory", "benchmarks.peers.handler_server:serve"]
    url = f"http://127.0.0.1:{port}"
    with run_server(command, folder, {"PYTHONPATH": str(ROOT)}) as server:
        photo = Photo("coffee", coffee(), ESPRESSO)
        server.wait_for_answer(Endpoint(f"{url}/predictions/fruity", frozenset([ESPRESSO])), photo, READY_S)
        yield url


@pytest.fixture
def inference(other_server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=other_server, timeout=60, event_hooks={"response": [check_described]}) as connected:
        yield connected


@pytest.fixture(scope="module")
def proxy(nginx: None, other_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    """The container's reverse proxy before it."""
    with run_proxy(tmp_path_factory.mktemp("proxy"), other_server, **VERTEX_AI_ROUTES) as running:
        yield running
