"""HEALTHCHECK: exit 0 if /readyz answers 200 at PORT, as a client would see it.

The standard library alone: it runs every 15 s, and importing httpx would take longer than asking.
"""

import http.client
import os
import ssl
import sys

_TIMEOUT_S = 4


def main() -> None:
    port = int(os.environ.get("PORT") or 8080)
    try:
        status, body = ask(port, tls=bool(os.environ.get("TLS_CERTIFICATE")))
    except OSError as error:
        sys.exit(f"port {port} does not answer: {error}")
    if status != http.client.OK:
        sys.exit(f"not ready: {body}")


def ask(port: int, *, tls: bool) -> tuple[int, str]:
    """Return the status and body of /readyz at *port* of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    if tls:
        # The certificate holds the machine's public name, not 127.0.0.1.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=_TIMEOUT_S, context=context)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, response.read(1000).decode(errors="replace")
    finally:
        connection.close()


if __name__ == "__main__":
    main()
