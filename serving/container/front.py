"""nginx on PORT: configured, started, reloaded and drained, with the listening socket in our own hands."""

import contextlib
import os
import resource
import signal
import socket
import string
import subprocess
import time
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from serving.container.exits import Ending, Exit
from serving.container.keys import write_keys
from serving.container.log import log
from serving.container.newcomers import refuse_newcomers
from serving.container.settings import Settings

DRAIN_S = 6
"""What is left of the 10 s after SIGTERM for requests under way; closing connections and the JVM need the rest."""

_HERE = Path(__file__).parents[2] / "dockerfiles" / "serve"
_DOCS = Path(__file__).parents[2] / "docs"
_NGINX = "/usr/sbin/nginx"
_PID_FILE = "nginx.pid"
_BACKLOG = 511
_MAX_FILES = 32_768
# Until nginx has read its configuration; a loaded machine takes a while.
_START_S = 30
_POLL_S = 0.01
# So that a client that is busy gets an answer that closes its connection, before idle ones are closed.
_CLOSING_S = 0.5


class _NginxTemplate(string.Template):
    delimiter = "%"


class Front:
    """A context manager: nginx runs inside, and is gone after."""

    def __init__(self, settings: Settings, inference: str, output: int) -> None:
        """*inference* is TorchServe's base URL; *output* takes nginx's log."""
        self._settings, self._inference, self._output = settings, inference, output
        self._config = settings.folder / "nginx.conf"

    def __enter__(self) -> Self:
        """Start nginx; raises `Ending` if the port, the keys or the certificate cannot be used."""
        settings = self._settings
        for left in ("draining", _PID_FILE):
            (settings.folder / left).unlink(missing_ok=True)
        if settings.api_keys:
            write_keys(settings.api_keys, settings.folder / "keys.json")
        self._config.write_text(render_config(settings, self._inference))
        self._listener = open_listener(settings.port)
        descriptor = self._listener.fileno()
        try:
            self._check_config()
            self._process = subprocess.Popen(
                self._command(),
                stdout=self._output,
                stderr=self._output,
                pass_fds=[descriptor],
                # nginx takes over listening sockets that this variable names: how it upgrades itself.
                env={"NGINX": f"{descriptor};"},
                start_new_session=True,
            )
        except BaseException:
            self._listener.close()
            raise
        try:
            self._wait_for_signals()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The group: workers go on serving when their master is killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._listener.close()

    def wait(self) -> int:
        """Return nginx's exit code when it has ended."""
        return self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def reload(self) -> None:
        """Read keys and certificate anew; where they cannot be used the old ones stay, and the log says why."""
        try:
            if self._settings.api_keys:
                count = write_keys(self._settings.api_keys, self._settings.folder / "keys.json")
                log("NOTICE", f"reload: {count} API keys are let in now")
            self._check_config()
        except Ending as reason:
            log("ERROR", f"reload refused, what was read before stays: {reason}")
            return
        self._process.send_signal(signal.SIGHUP)

    def drain(self) -> None:
        """Answer what was accepted, refuse whoever comes now, and end nginx."""
        (self._settings.folder / "draining").touch()
        time.sleep(_CLOSING_S)
        self._process.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + DRAIN_S + 0.5
        refuse_newcomers(
            self._listener,
            lambda: self._process.poll() is not None or time.monotonic() > deadline,
            plain=self._settings.tls_certificate is None,
        )
        if self._process.poll() is None:
            log("WARNING", f"requests were cut off: they took more than {DRAIN_S} s after SIGTERM")

    def _wait_for_signals(self) -> None:
        """Return when nginx obeys signals; before, a SIGHUP or SIGQUIT would end it on the spot.

        It writes its pid once it does (`nginx -t` leaves the file empty). One that ended is for `wait` to tell.
        """
        deadline = time.monotonic() + _START_S
        while self._process.poll() is None and self._read_pid() != self._process.pid:
            if time.monotonic() > deadline:
                raise Ending(Exit.FRONT, f"nginx has not started after {_START_S} s; the machine may be too busy")
            time.sleep(_POLL_S)

    def _read_pid(self) -> int:
        """Return the pid that nginx has written, 0 if none."""
        path = self._settings.folder / _PID_FILE
        return int(path.read_text().strip() or 0) if path.exists() else 0

    def _command(self, *options: str) -> list[str]:
        return [_NGINX, "-e", "stderr", "-p", str(self._settings.folder), "-c", str(self._config), *options]

    def _check_config(self) -> None:
        """Let nginx read its configuration; raises `Ending` with its own words."""
        try:
            done = subprocess.run(self._command("-t", "-q"), capture_output=True, text=True, check=False)
        except OSError as error:
            raise Ending(
                Exit.FRONT, f"nginx is not at {_NGINX} ({error.strerror}); apt-get install nginx brings it"
            ) from error
        if done.returncode:
            reason = " ".join(done.stderr.split())
            tls = self._settings.tls_certificate is not None and ("SSL" in reason or "PEM" in reason)
            raise Ending(Exit.TLS if tls else Exit.FRONT, f"nginx refuses its configuration: {reason[:400]}")


def render_config(settings: Settings, inference: str) -> str:
    """Return nginx.conf for *settings*, in front of the TorchServe at the base URL *inference*."""
    keys = 'map "" $client {\n    default anonymous;\n  }'
    if settings.api_keys:
        keys = (
            "js_import guard from keys.js;\n"
            f"  js_preload_object keys from {settings.folder}/keys.json;\n  js_set $client guard.client;"
        )
    tls = f"ssl http2;\n    ssl_certificate {settings.tls_certificate};\n    ssl_certificate_key {settings.tls_key};\n"
    tls += "    ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_session_cache shared:tls:2m"
    per_client = settings.requests_per_client
    zone = f"limit_req_zone $binary_remote_addr zone=requests:4m rate={per_client}r/s;"
    proxies = [f"set_real_ip_from {network};" for network in settings.trusted_proxies]
    proxies += ["real_ip_header X-Forwarded-For;", "real_ip_recursive on;"] if proxies else []
    return _NginxTemplate((_HERE / "nginx.conf").read_text()).substitute(
        folder=settings.folder,
        # Only root can give its workers another user, and then they could not read the folder.
        user="user root;" if os.geteuid() == 0 else "",
        here=_HERE,
        files=min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], _MAX_FILES),
        drain_s=DRAIN_S,
        proxies="\n  ".join(proxies),
        keys=keys,
        rate_zone=zone if per_client else "",
        rate=f"limit_req zone=requests burst={2 * per_client} nodelay;" if per_client else "",
        connections_per_client=settings.connections_per_client,
        inference=urlsplit(inference).netloc,
        listen=f"listen {settings.port} {tls if settings.tls_certificate else ''};",
        docs=_DOCS / "api.html",
        openapi=_DOCS / "openapi.yaml",
    )


def open_listener(port: int) -> socket.socket:
    """Return a socket that listens on *port* of all addresses; raises `Ending`."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("0.0.0.0", port))  # noqa: S104, it is the one that faces the network
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Ending(
            Exit.PORT, f"PORT is {port}, which cannot be listened on ({error.strerror}); choose another, above 1023"
        ) from error
    listener.setblocking(False)
    return listener
