"""A download that continues after a failure, which pooch's own downloaders do not (docs/decisions/0015)."""

import shutil
import time
from pathlib import Path

import requests

from training.data.photo_set import DataError
from training.progress import show_progress

_ATTEMPTS = 5
_TIMEOUT_S = 30.0
_CHUNK_BYTES = 2**16


class ResumingDownload:
    """A `downloader` for pooch: the bytes received stay in *part_path*, also after a crash or Ctrl-C.

    The next attempt, or the next call, requests only the rest. After a failure it waits *pause_s*,
    then twice as long each time. Raises `DataError` or `OSError`.
    """

    def __init__(self, part_path: Path, pause_s: float = 2.0) -> None:
        self._part_path = part_path
        self._pause_s = pause_s

    def __call__(self, url: str, output_file: str, pooch: object = None) -> None:
        """Download *url* to *output_file*."""
        for attempt in range(_ATTEMPTS):
            try:
                self._receive(url)
            except requests.RequestException as error:
                failure = error
                if attempt < _ATTEMPTS - 1:
                    time.sleep(self._pause_s * 2**attempt)
            else:
                self._part_path.replace(output_file)
                return
        raise DataError(
            f"{url} could not be downloaded in {_ATTEMPTS} attempts, the last one failed with: {failure}; check the "
            f"network and run the same command again, it continues after {_size(self._part_path):,} bytes"
        ) from failure

    def _receive(self, url: str) -> None:
        held = _size(self._part_path)
        # With compression in transit a range would count compressed bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            refused = response.status_code == requests.codes.range_not_satisfiable
            resumed = response.status_code == requests.codes.partial
            if refused or (resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {held}-")):
                self._part_path.unlink()
                raise requests.RequestException("the server cannot continue the download, so it starts again")
            _check_status(url, response)
            self._write(response, held if resumed else 0)

    def _write(self, response: requests.Response, held: int) -> None:
        length = response.headers.get("Content-Length")
        total = held + int(length) if length else None
        folder = self._part_path.parent
        free = shutil.disk_usage(folder).free
        if total is not None and total - held > free:
            raise DataError(
                f"{folder} has {free:,} bytes free, {total - held:,} are needed; free some or choose another disk"
            )
        step = f"Downloading {self._part_path.stem.lstrip('.')}"
        with (
            show_progress(step, total, "bytes", done=held) as advance,
            self._part_path.open("ab" if held else "wb") as file,
        ):
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                advance(len(chunk))


def _check_status(url: str, response: requests.Response) -> None:
    if response.status_code >= 500 or response.status_code == requests.codes.too_many_requests:
        response.raise_for_status()
    if not response.ok:
        raise DataError(f"{url} answered {response.status_code} {response.reason}; check the address")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
