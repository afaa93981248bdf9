"""Each security setting of TorchServe, the reverse proxy and the image: flipped, a test finds it.

What the settings do is tested where a server runs; this holds that none of them is lost.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from serving.model_store import ROOT

Required = Mapping[str, str]
"""By a setting's line, what it is flipped to."""

CONFIG, PROXY, IMAGE = "config.properties", "dockerfiles/serve/nginx.conf", "dockerfiles/serve.dockerfile"
SETTINGS: Mapping[str, Required] = {
    CONFIG: {
        "inference_address=http://127.0.0.1:8080": "inference_address=http://0.0.0.0:8080",
        "management_address=http://127.0.0.1:8081": "management_address=http://0.0.0.0:8081",
        "metrics_address=http://127.0.0.1:8082": "metrics_address=http://0.0.0.0:8082",
        "grpc_inference_address=127.0.0.1": "grpc_inference_address=0.0.0.0",
        "grpc_management_address=127.0.0.1": "grpc_management_address=0.0.0.0",
        "load_models=fruity.mar": "load_models=all",
        "allowed_urls=^$": "allowed_urls=.*",
        "use_env_allowed_urls=false": "use_env_allowed_urls=true",
        "install_py_dep_per_model=false": "install_py_dep_per_model=true",
        "max_request_size=33554432": "max_request_size=2147483647",
        "max_response_size=33554432": "max_response_size=2147483647",
        "decode_input_request=false": "decode_input_request=true",
        "limit_max_image_pixels=true": "limit_max_image_pixels=false",
        "job_queue_size=100": "job_queue_size=100000",
        "default_response_timeout=30": "default_response_timeout=3600",
        "enable_envvars_config=false": "enable_envvars_config=true",
        "blacklist_env_vars=.*(KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL).*": "blacklist_env_vars=",
        "cpu_launcher_enable=false": "cpu_launcher_enable=true",
    },
    PROXY: {
        "server_tokens off;": "server_tokens on;",
        "client_header_timeout 10s;": "client_header_timeout 600s;",
        "client_body_timeout 10s;": "client_body_timeout 600s;",
        "send_timeout 10s;": "send_timeout 600s;",
        "reset_timedout_connection on;": "reset_timedout_connection off;",
        "large_client_header_buffers 4 8k;": "large_client_header_buffers 64 64k;",
        "client_max_body_size 32m;": "client_max_body_size 0;",
        'proxy_set_header X-API-Key "";': "proxy_set_header X-API-Key $http_x_api_key;",
        'proxy_set_header Authorization "";': "proxy_set_header Authorization $http_authorization;",
        'proxy_set_header Cookie "";': "proxy_set_header Cookie $http_cookie;",
        'proxy_set_header explain "";': "proxy_set_header explain $http_explain;",
        'proxy_set_header X-Probe "";': "proxy_set_header X-Probe $http_x_probe;",
        "proxy_set_header describe $describe;": "proxy_set_header describe $http_describe;",
        "add_header X-Content-Type-Options nosniff always;": "",
        "add_header Content-Security-Policy $content_policy always;": "",
    },
    IMAGE: {
        "USER 10001:10001": "USER root",
        "STOPSIGNAL SIGTERM": "STOPSIGNAL SIGKILL",
        '&& python -c "import pip, shutil; shutil.rmtree(pip.__path__[0])" \\': "\\",
        "&& rm -f /usr/bin/pip* /usr/local/bin/pip*": "",
        'ENTRYPOINT ["python", "-m", "serving.container.supervisor"]': 'ENTRYPOINT ["torchserve"]',
    },
}
EACH = [(file, line, flipped) for file, lines in SETTINGS.items() for line, flipped in lines.items()]


def find_missing(text: str, required: Required) -> set[str]:
    """Return the settings of *required* that *text* does not have as a line, or has twice with different values."""
    lines = [line.strip() for line in text.splitlines()]
    missing = {line for line in required if line not in lines}
    for line in required.keys() - missing:
        name = re.split("[= ]", line)[0] if "=" in line and " " not in line else None
        if name and sum(other.startswith(f"{name}=") for other in lines) > 1:
            missing.add(line)
    return missing


@pytest.mark.parametrize("file", SETTINGS)
def test_every_security_setting_is_there_once(file: str) -> None:
    assert find_missing((ROOT / file).read_text(), SETTINGS[file]) == set()


@pytest.mark.parametrize(("file", "line", "flipped"), EACH, ids=[line for _, line, _ in EACH])
def test_a_setting_that_is_flipped_is_found(file: str, line: str, flipped: str) -> None:
    text = (ROOT / file).read_text().replace(line, flipped, 1)

    assert line in find_missing(text, SETTINGS[file])


def test_a_later_line_that_would_win_is_found() -> None:
    text = Path(ROOT / CONFIG).read_text() + "allowed_urls=.*\n"

    assert find_missing(text, SETTINGS[CONFIG]) == {"allowed_urls=^$"}
