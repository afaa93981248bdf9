"""What one core gives without Ray: the archive's handler in this process, photos in memory, no rows.

python -m benchmarks.score_ceiling ARCHIVE MANIFEST SECONDS: prints `ready`, waits for a line, prints photos a second.
Nothing of ours may import `handler` here, which is the archive's.
"""

import itertools
import sys
import time
from pathlib import Path

from scoring.archived_handler import ArchivedHandler
from scoring.file_access import open_files
from scoring.part_scorer import MAX_PHOTO_BYTES
from scoring.photo_listing import list_photos, read_photo, split_source

_PHOTOS = 400


def main(archive: str, manifest: str, seconds: str) -> None:
    handler = ArchivedHandler(Path(archive).read_bytes(), None)
    files = open_files(split_source(manifest)[0])
    places = itertools.islice(list_photos(manifest), _PHOTOS)
    supply = itertools.cycle([read_photo(files, place, MAX_PHOTO_BYTES) for place in places])
    handler.answer(list(itertools.islice(supply, handler.batch)))
    print("ready", flush=True)
    sys.stdin.readline()
    count, started_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - started_s) < float(seconds):
        count += len(handler.answer(list(itertools.islice(supply, handler.batch))))
    print(count / took_s, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
