"""The prediction log's finished files, moved to a bucket or a folder while the container runs."""

import contextlib
import hashlib
import io
import threading
import time
from pathlib import Path

from handler.log_folder import is_finished, list_files
from model_archive.storage import RegistryError, Storage
from serving.container.json_log import log

INTERVAL_S = 10.0
_POLL_S = 0.05


class LogUpload:
    def __init__(self, folder: Path, storage: Storage) -> None:
        """*folder* is the prediction log's."""
        self._folder, self._storage = folder, storage
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._move_periodically, name="log upload", daemon=True)
        self._is_failing = False

    def start(self) -> None:
        """Move files from now on; first what is there, which a container that crashed has left."""
        self._thread.start()

    def finish(self, timeout_s: float) -> None:
        """Move what is left, now that no worker runs; return after *timeout_s* at the latest."""
        self._ending.set()
        self._thread.join(max(0.0, timeout_s))
        if left := list_files(self._folder):
            log("WARNING", f"{len(left)} files of the prediction log were not moved to {self._storage.uri} in time")

    def move_finished(self) -> None:
        """Move the files that no worker writes any more; raise `RegistryError` or `OSError`."""
        for path in list_files(self._folder):
            # A worker may delete it meanwhile, to keep the folder's cap.
            with contextlib.suppress(FileNotFoundError):
                if path.suffix != ".jsonl" or is_finished(path):
                    self._move(path)

    def _move(self, path: Path) -> None:
        content = path.read_bytes()
        name = path.relative_to(self._folder)
        if path.suffix == ".jsonl":
            # Several servers may have files of one name. An upload that is repeated gives the same name.
            name = name.with_stem(f"{name.stem}-{hashlib.sha256(content).hexdigest()[:12]}")
        self._storage.create(name.as_posix(), io.BytesIO(content), len(content))
        path.unlink()

    def _move_periodically(self) -> None:
        self._try_to_move()
        while not self._ending.wait(INTERVAL_S):
            self._try_to_move()
        # A worker that was killed holds its lock until its memory is freed.
        while list_files(self._folder):
            self._try_to_move()
            time.sleep(_POLL_S)

    def _try_to_move(self) -> None:
        try:
            self.move_finished()
            self._is_failing = False
        except (RegistryError, OSError) as error:
            if not self._is_failing:
                log("WARNING", f"the prediction log stays in {self._folder} until it can be moved: {error}")
            self._is_failing = True
