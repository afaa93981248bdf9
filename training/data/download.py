"""One file over HTTP, going on where an earlier try stopped."""

import shutil
import time
from pathlib import Path

import httpx
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from training.data.photos import DataError

_ATTEMPTS = 5
_TIMEOUT_S = 30.0
_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    DownloadColumn(),
    TransferSpeedColumn(),
    TimeRemainingColumn(),
)


def download_file(url: str, path: Path, pause_s: float = 2.0) -> None:
    """Fetch *url* to *path*, which appears once it is whole; raise `DataError` or `OSError`.

    What arrived stays in `<path>.part`, also after a crash or Ctrl-C, and a later call goes on from
    there. After a failure waits *pause_s*, then twice as long each time.
    """
    part_path = path.with_name(path.name + ".part")
    failure: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        try:
            _fetch_rest(url, part_path)
        except httpx.TransportError as error:
            failure = error
        else:
            part_path.replace(path)
            return
    raise DataError(
        f"{url} could not be fetched in {_ATTEMPTS} tries, the last one failed with: {failure}; check the network "
        f"and run the same command again, it goes on after {_size(part_path):,} bytes"
    ) from failure


def _fetch_rest(url: str, part_path: Path) -> None:
    held = _size(part_path)
    # Compression in transit would make ranges count other bytes than ours.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=_TIMEOUT_S) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            # We hold all of it, or more: a leftover of another file.
            if response.headers.get("Content-Range") == f"bytes */{held}":
                return
            part_path.unlink()
            raise httpx.RemoteProtocolError("what was held did not fit what the server has")
        _check_status(url, response)
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
            part_path.unlink()
            raise httpx.RemoteProtocolError("the server sent another range than asked for")
        _write_body(response, part_path, held if resumed else 0)


def _check_status(url: str, response: httpx.Response) -> None:
    if response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise httpx.RemoteProtocolError(f"status {response.status_code}")
    if not response.is_success:
        raise DataError(f"{url} answered {response.status_code} {response.reason_phrase}; check the address")


def _write_body(response: httpx.Response, part_path: Path, held: int) -> None:
    length = response.headers.get("Content-Length")
    total = held + int(length) if length else None
    free = shutil.disk_usage(part_path.parent).free
    if total is not None and total - held > free:
        raise DataError(
            f"{part_path.parent} has {free:,} bytes free, {total - held:,} are needed; free some or choose another disk"
        )
    with Progress(*_COLUMNS) as progress, part_path.open("ab" if held else "wb") as file:
        task = progress.add_task(part_path.stem.lstrip("."), total=total, completed=held)
        for chunk in response.iter_raw():
            file.write(chunk)
            progress.advance(task, len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
