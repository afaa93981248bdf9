from pathlib import Path

import pytest

from serving.container.container_settings import ContainerSettings, read_settings
from serving.container.exit_codes import ContainerExit, ExitCode


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}) == ContainerSettings()
    assert read_settings({"PORT": " ", "MODEL_URI": "", "HOME": "/tmp"}) == ContainerSettings()  # noqa: S108


def test_every_setting_is_read(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("PUBLIC_KEY", "API_KEYS", "TLS_CERTIFICATE", "TLS_KEY")}
    for file in files.values():
        file.touch()
    ports = {"PORT": 80, "METRICS_PORT": 81}
    numbers = {**ports, "CONNECTIONS_PER_CLIENT": 9, "REQUESTS_PER_CLIENT": 8, "START_TIMEOUT_S": 7}
    environment = {name: str(value) for name, value in {**files, **numbers}.items()}
    rest = {"MODEL_URI": "gs://b/p/1.0.0/", "TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8", "RUN_FOLDER": "/run/fruity"}
    rest |= {"PREDICTION_LOG": "/logs", "LOG_URI": "gs://b/logs/"}
    rest["CORS_ORIGINS"] = "https://Shop.example, http://localhost:3000,https://shop.example"
    rest["CORRECTIONS_URI"] = "gs://b/said/"
    rest |= {
        "AIP_HTTP_PORT": "82",
        "AIP_HEALTH_ROUTE": "/v1/endpoints/1",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/1:predict",
    }
    rest |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://10.0.0.1:4318", "OTEL_TRACES_SAMPLER_ARG": "0.25"}

    settings = read_settings({**environment, **rest})

    assert vars(settings) == {
        **{name.lower(): value for name, value in {**files, **numbers}.items()},
        # The image sets PORT; on Vertex AI its own port holds.
        "port": 82,
        "aip_http_port": 82,
        "aip_health_route": "/v1/endpoints/1",
        "aip_predict_route": "/v1/endpoints/1:predict",
        "model_uri": "gs://b/p/1.0.0",
        "trusted_proxies": ("10.0.0.0/8", "fd00::/8"),
        "cors_origins": ("https://shop.example", "http://localhost:3000"),
        "otel_exporter_otlp_endpoint": "http://10.0.0.1:4318",
        "otel_traces_sampler_arg": 0.25,
        "run_folder": Path("/run/fruity"),
        "prediction_log": Path("/logs"),
        "log_uri": "gs://b/logs",
        "corrections_uri": "gs://b/said",
    }


def test_a_log_that_is_moved_is_first_written_to_the_run_folder() -> None:
    settings = read_settings({"LOG_URI": "/mnt/logs", "RUN_FOLDER": "/run/fruity"})

    assert (settings.prediction_log, settings.log_uri) == (Path("/run/fruity/predictions"), "/mnt/logs")


@pytest.mark.parametrize("uri", ["gs://bucket/1.0.0", "gs://bucket/a/b/10.20.30", "/models/1.0.0", "models/1.0.0"])
def test_a_registry_with_a_version_is_accepted(uri: str) -> None:
    assert read_settings({"MODEL_URI": uri}).model_uri == uri


@pytest.mark.parametrize(
    ("name", "value", "code", "allowed"),
    [
        *(("PORT", value, ExitCode.SETTING, "1 to 65535") for value in ("x" * 40, "65536", "-1", "٣")),
        ("CONNECTIONS_PER_CLIENT", "0", ExitCode.SETTING, "1 to 100000"),
        *(("OTEL_TRACES_SAMPLER_ARG", value, ExitCode.SETTING, "0.0001 to 1") for value in ("0", "1.01", "nan", "1%")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", ExitCode.SETTING, "http://127.0.0.1:4318"),
        *(
            ("AIP_PREDICT_ROUTE", value, ExitCode.SETTING, "a path of letters")
            for value in ("predict", "/a b", "/a;", "/a{", '/"', "/$uri", "//a", "/a//b", "/a/", "/../a", "/é")
        ),
        *(
            ("AIP_HEALTH_ROUTE", value, ExitCode.SETTING, "the server's own")
            for value in ("/docs", "/docs/start.js", "/v2", "/v1/models", "/sized/a", "/problem", "/corrections")
        ),
        ("AIP_HTTP_PORT", "0", ExitCode.SETTING, "1 to 65535"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", ExitCode.SETTING, "host bits.*10.0.0.0/8,fd00::/8"),
        ("TRUSTED_PROXIES", "all; include /etc", ExitCode.SETTING, "10.0.0.0/8,fd00::/8"),
        *(
            ("CORS_ORIGINS", value, ExitCode.SETTING, r"https://shop\.example")
            for value in ("shop.example", "https://a/", 'https://a";}', "https://a,", "ftp://a", "https://*.a")
        ),
        *(("CORRECTIONS_URI", uri, ExitCode.SETTING, "gs://bucket/prefix") for uri in ("s3://x", "gs://", "a b")),
        ("MODEL_URI", "gs://bucket/latest", ExitCode.ARCHIVE, "gs://bucket/prefix/1.0.0"),
        ("MODEL_URI", "gs:///1.0.0", ExitCode.ARCHIVE, "gs://bucket/prefix/1.0.0"),
        ("MODEL_URI", "https://x/1.0.0", ExitCode.ARCHIVE, "gs://bucket/prefix/1.0.0"),
        ("LOG_URI", "https://logs", ExitCode.SETTING, "gs://bucket/prefix or /folder"),
        ("LOG_URI", "gs://", ExitCode.SETTING, "gs://bucket/prefix or /folder"),
        ("PUBLIC_KEY", "/no/key", ExitCode.SIGNATURE, r"\(No such file or directory\)"),
        ("API_KEYS", "/", ExitCode.KEYS, r"\(Is a directory\)"),
        ("TLS_CERTIFICATE", "/no/tls", ExitCode.TLS, r"\(No such file or directory\)"),
        ("TLS_KEY", __file__, ExitCode.TLS, "neither"),
    ],
)
def test_an_invalid_setting_is_refused_with_what_is_allowed(
    name: str, value: str, code: ExitCode, allowed: str
) -> None:
    with pytest.raises(ContainerExit, match=rf"{name}.*{allowed}") as ended:
        read_settings({name: value})

    assert ended.value.code == code
    assert value in str(ended.value) or value == __file__


def test_a_secret_that_is_a_symbolic_link_is_read_where_the_link_points_now(tmp_path: Path) -> None:
    link = tmp_path / "keys"
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    link.symlink_to("old")

    path = read_settings({"API_KEYS": str(link)}).api_keys
    link.unlink()
    link.symlink_to("new")

    assert path == link
    assert path.read_text() == "new"
