"""How the same photo is asked about from code."""

import shlex
from urllib.parse import quote

from playground.connection import Connection


def write_curl(connection: Connection, name: str) -> str:
    """Return the command for a shell; an API key is named, never shown."""
    key = ' -H "X-API-Key: $FRUITY_KEY"' if connection.key else ""
    version = f"/{quote(connection.version, safe='')}" if connection.version else ""
    address = f"{connection.url.rstrip('/')}/predictions/fruity{version}"
    return f"curl -T {shlex.quote(name)}{key} {shlex.quote(address)}"


def write_python(connection: Connection, name: str) -> str:
    """Return the lines for Python."""
    options = [repr(connection.url)]
    if connection.key:
        options.append('key=os.environ["FRUITY_KEY"]')
    if connection.version:
        options.append(f"version={connection.version!r}")
    imports = "import os\n\n" if connection.key else ""
    return (
        f"{imports}from fruity import Client\n\n"
        f"with Client({', '.join(options)}) as client:\n"
        f"    prediction = client.predict({name!r})\n"
        "    print(prediction.best.label, prediction.best.probability, prediction.verdict)\n"
    )
