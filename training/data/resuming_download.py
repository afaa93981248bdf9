"""A download that continues after a failure, which pooch's own downloaders do not (docs/decisions/0015)."""

import time
from pathlib import Path

import requests

from training.data.photo_set import DataError
from training.progress import show_progress

_ATTEMPTS = 5
_TIMEOUT_S = 30.0
_CHUNK_BYTES = 2**16


def resume_download(url: str, output_file: str, pooch: object, *, part_path: Path, pause_s: float = 2.0) -> None:
    """Download *url* to *output_file*, as pooch calls it; the bytes received stay in *part_path* until it is complete.

    The next attempt, or the next call, requests only the rest. After a failure it waits *pause_s*,
    then twice as long each time. Raises `DataError` or `OSError`.
    """
    for attempt in range(_ATTEMPTS):
        time.sleep(pause_s * 2 ** (attempt - 1) if attempt else 0)
        try:
            _receive(url, part_path)
        except requests.RequestException as error:
            failure = error
        else:
            part_path.replace(output_file)
            return
    raise DataError(
        f"{url} could not be downloaded in {_ATTEMPTS} attempts, the last one failed with: {failure}; check the "
        f"network and run the same command again, it continues after {_size(part_path):,} bytes"
    ) from failure


def _receive(url: str, part_path: Path) -> None:
    held = _size(part_path)
    # With compression in transit a range would count compressed bytes.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        status, resumed = response.status_code, response.headers.get("Content-Range", "").startswith(f"bytes {held}-")
        if status == 416 or (status == 206 and not resumed):
            part_path.unlink()
            raise requests.RequestException("the server cannot continue the download, so it starts again")
        if 400 <= status < 500 and status != 429:
            raise DataError(f"{url} answered {status} {response.reason}; check the address")
        response.raise_for_status()
        held = held if resumed else 0
        total = held + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        title = f"Downloading {part_path.stem.lstrip('.')}"
        with show_progress(title, total, "bytes", done=held) as advance, part_path.open("ab" if held else "wb") as file:
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                advance(len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
