"""The reverse proxy: nginx on PORT, started, reloaded and drained."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from typing import Any, Self

from serving.container.api_keys import write_keys
from serving.container.connection_drain import drain_connections
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.json_log import log
from serving.container.proxy_config import DRAIN_S, render_config

_NGINX = "/usr/sbin/nginx"
# Until nginx has read its configuration; a busy machine may need seconds.
_START_S = 30
# Busy clients get an answer with `Connection: close` in this time, before idle connections are closed.
_CLOSE_HEADER_S = 0.5


class Proxy:
    """A context manager: nginx runs while the block does."""

    def __init__(self, settings: ContainerSettings, inference: str, output: int) -> None:
        """*inference* is TorchServe's base URL; *output* is the file descriptor for nginx's log."""
        self._settings, self._inference, self._output = settings, inference, output
        self._folder = settings.run_folder

    def __enter__(self) -> Self:
        """Start nginx; raises `ContainerExit` if the port, the keys or the certificate cannot be used."""
        for name in ("draining", "nginx.pid"):
            (self._folder / name).unlink(missing_ok=True)
        self._write_keys()
        (self._folder / "nginx.conf").write_text(render_config(self._settings, self._inference))
        with contextlib.ExitStack() as stack:
            self._listener = stack.enter_context(open_listener(self._settings.port))
            self._check_config()
            self.process = self._start()
            stack.callback(self._kill)
            self._wait_for_signal_handlers()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reload(self) -> None:
        """Read keys and certificate again; invalid ones are logged and the old ones stay."""
        try:
            self._write_keys()
            self._check_config()
        except ContainerExit as reason:
            log("ERROR", f"reload failed, the old keys and certificate stay: {reason}")
            return
        self.process.send_signal(signal.SIGHUP)

    def _write_keys(self) -> None:
        if self._settings.api_keys:
            count = write_keys(self._settings.api_keys, self._folder / "keys.json")
            log("NOTICE", f"{count} keys in API_KEYS")

    def drain(self) -> None:
        """Answer the accepted requests, refuse new connections, and end nginx."""
        (self._folder / "draining").touch()
        time.sleep(_CLOSE_HEADER_S)
        self.process.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + DRAIN_S + 0.5
        tls = self._settings.tls_certificate is not None
        drain_connections(
            self._listener, lambda: self.process.poll() is not None or time.monotonic() > deadline, tls=tls
        )
        if self.process.poll() is None:
            log("WARNING", f"requests were cut off: they took more than {DRAIN_S} s after SIGTERM")

    def _start(self) -> "subprocess.Popen[bytes]":
        # nginx inherits the listening sockets that this variable names, as in its own binary upgrade.
        inherit, output = {"NGINX": f"{self._listener.fileno()};"}, self._output
        options: dict[str, Any] = {"pass_fds": [self._listener.fileno()], "env": inherit, "start_new_session": True}
        return subprocess.Popen(self._command(), stdout=output, stderr=output, **options)

    def _kill(self) -> None:
        # The process group: workers would keep serving after their master.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _wait_for_signal_handlers(self) -> None:
        """Return when nginx has written its pid; before that, a SIGHUP or SIGQUIT would end it immediately."""
        deadline, path = time.monotonic() + _START_S, self._folder / "nginx.pid"
        # `nginx -t` leaves the file empty. If nginx has ended, `wait` reports it.
        while self.process.poll() is None and not (path.exists() and path.read_text().strip()):
            if time.monotonic() > deadline:
                raise ContainerExit(ExitCode.PROXY, f"nginx did not start within {_START_S} s; is the machine busy?")
            time.sleep(0.01)

    def _command(self, *options: str) -> list[str]:
        return [_NGINX, "-e", "stderr", "-p", str(self._folder), "-c", str(self._folder / "nginx.conf"), *options]

    def _check_config(self) -> None:
        """Let nginx check its configuration; raises `ContainerExit` with nginx's own message."""
        try:
            done = subprocess.run(self._command("-t", "-q"), capture_output=True, text=True, check=False)
        except OSError as error:
            reason = f"{_NGINX} cannot be started ({error.strerror}); apt-get install nginx installs it"
            raise ContainerExit(ExitCode.PROXY, reason) from error
        if done.returncode:
            reason = " ".join(done.stderr.split())
            tls = self._settings.tls_certificate is not None and ("SSL" in reason or "PEM" in reason)
            code = ExitCode.TLS if tls else ExitCode.PROXY
            raise ContainerExit(code, f"nginx rejects its configuration: {reason[:400]}")


def open_listener(port: int) -> socket.socket:
    """Return a socket that listens on *port* of all addresses; raises `ContainerExit`."""
    try:
        listener = socket.create_server(("0.0.0.0", port), backlog=511)  # noqa: S104, it faces the network
    except OSError as error:
        reason = (
            f"PORT is {port}, which cannot be opened ({os.strerror(error.errno or 0)}); choose another one above 1023"
        )
        raise ContainerExit(ExitCode.PORT, reason) from error
    listener.setblocking(False)
    return listener
