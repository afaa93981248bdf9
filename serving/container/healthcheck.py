"""HEALTHCHECK: exit 0 if /readyz answers 200 at PORT; by the standard library, as importing httpx takes longer."""

import os
import ssl
import sys
from urllib.error import HTTPError
from urllib.request import urlopen


def main() -> None:
    port = os.environ.get("AIP_HTTP_PORT") or os.environ.get("PORT") or "8080"
    scheme = "https" if os.environ.get("TLS_CERTIFICATE") else "http"
    # The certificate holds the machine's public name, not 127.0.0.1.
    context = ssl._create_unverified_context()  # noqa: S323
    try:
        with urlopen(f"{scheme}://127.0.0.1:{port}/readyz", timeout=4, context=context):  # noqa: S310, loopback
            return
    except HTTPError as error:
        sys.exit(f"not ready: {error.read(1000).decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"port {port} does not answer: {error}")


if __name__ == "__main__":
    main()
