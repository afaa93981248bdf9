"""All parts of a source scored by one actor in this process, without Ray, whose results it prints as JSON lines.

python -m tests.scoring.direct_scoring SOURCE DESTINATION ARCHIVE FORMAT
"""

import json
import sys
from pathlib import Path

import numpy as np

from scoring.destination import Destination, RunSettings
from scoring.part_scorer import PartScorer
from scoring.photo_listing import list_photos
from scoring.result_rows import Format


def main(source: str, uri: str, archive: str, suffix: Format) -> None:
    destination = Destination(uri)
    with destination.locked():
        if (settings := destination.read_settings()) is None:
            num_photos = destination.write_list(list_photos(source))
            settings = RunSettings(source=source, format=suffix, version="", archive_digest="", num_photos=num_photos)
            destination.write_settings(settings)
        scorer = PartScorer(Path(archive).read_bytes(), source, uri, suffix, gpu=False)
        for part in destination.pending_parts(settings)[0]:
            columns = {name: np.array([value]) for name, value in part._asdict().items()}
            result = {name: column.tolist()[0] for name, column in scorer(columns).items()}
            sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]  # tests give one of the formats
