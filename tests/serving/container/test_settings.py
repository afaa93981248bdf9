from pathlib import Path

import pytest

from serving.container.exits import Ending, Exit
from serving.container.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.read({}) == Settings()
    assert Settings.read({"PORT": " ", "MODEL_URI": ""}) == Settings()


def test_every_setting_is_taken(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("PUBLIC_KEY", "API_KEYS", "TLS_CERTIFICATE", "TLS_KEY")}
    for file in files.values():
        file.touch()
    numbers = {"PORT": "80", "CONNECTIONS_PER_CLIENT": "9", "REQUESTS_PER_CLIENT": "8", "START_TIMEOUT_S": "7"}
    rest = {"MODEL_URI": "gs://b/p/1.0.0/", "TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8", "RUN_FOLDER": "/run/fruity"}

    settings = Settings.read({**{name: str(file) for name, file in files.items()}, **numbers, **rest})

    assert settings == Settings(
        port=80,
        model_uri="gs://b/p/1.0.0",
        public_key=files["PUBLIC_KEY"],
        api_keys=files["API_KEYS"],
        tls_certificate=files["TLS_CERTIFICATE"],
        tls_key=files["TLS_KEY"],
        trusted_proxies=("10.0.0.0/8", "fd00::/8"),
        connections_per_client=9,
        requests_per_client=8,
        start_timeout_s=7,
        folder=Path("/run/fruity"),
    )


@pytest.mark.parametrize("uri", ["gs://bucket/1.0.0", "gs://bucket/a/b/10.20.30", "/models/1.0.0", "models/1.0.0"])
def test_a_registry_with_a_version_is_taken(uri: str) -> None:
    assert Settings.read({"MODEL_URI": uri}).model_uri == uri


@pytest.mark.parametrize(
    ("environment", "exit_code", "reason"),
    [
        ({"PORT": "x" * 99}, Exit.SETTING, rf"PORT is '{'x' * 40}', it must be a whole number from 1 to 65535"),
        ({"PORT": "65536"}, Exit.SETTING, "PORT is '65536'"),
        ({"PORT": "-1"}, Exit.SETTING, "PORT is '-1'"),
        ({"PORT": "٣"}, Exit.SETTING, "PORT is '٣'"),
        ({"CONNECTIONS_PER_CLIENT": "0"}, Exit.SETTING, "it must be a whole number from 1 to 100000"),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, Exit.SETTING, "TRUSTED_PROXIES is '10.0.0.1/8': .*host bits"),
        ({"TRUSTED_PROXIES": "all; include /etc"}, Exit.SETTING, "it must be networks as 10.0.0.0/8,fd00::/8"),
        ({"MODEL_URI": "gs://bucket/latest"}, Exit.ARCHIVE, "with a version at the end, as gs://bucket/prefix/1.0.0"),
        ({"MODEL_URI": "gs:///1.0.0"}, Exit.ARCHIVE, "MODEL_URI is 'gs:///1.0.0'"),
        ({"MODEL_URI": "https://x/1.0.0"}, Exit.ARCHIVE, "MODEL_URI is 'https://x/1.0.0'"),
        ({"PUBLIC_KEY": "/no/key"}, Exit.SIGNATURE, r"PUBLIC_KEY is /no/key, .*\(No such file or directory\); mount"),
        ({"API_KEYS": "/"}, Exit.KEYS, r"API_KEYS is /, which cannot be read \(Is a directory\)"),
        ({"TLS_CERTIFICATE": "/no/tls"}, Exit.TLS, "TLS_CERTIFICATE is /no/tls"),
        ({"TLS_KEY": __file__}, Exit.TLS, "only one of TLS_CERTIFICATE and TLS_KEY is set"),
    ],
)
def test_a_bad_setting_is_told_with_what_is_allowed(environment: dict[str, str], exit_code: Exit, reason: str) -> None:
    with pytest.raises(Ending, match=reason) as ending:
        Settings.read(environment)

    assert ending.value.exit_code == exit_code


def test_a_secret_that_is_a_link_is_read_anew_where_the_link_is_turned(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "keys"
    link.symlink_to("old")

    settings = Settings.read({"API_KEYS": str(link)})
    link.unlink()
    link.symlink_to("new")

    assert settings.api_keys is not None
    assert settings.api_keys.read_text() == "new"


def test_a_file_that_is_named_from_here_is_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").touch()
    monkeypatch.chdir(tmp_path)

    assert Settings.read({"API_KEYS": "keys"}).api_keys == tmp_path / "keys"
