"""What fruity's worker does with photos, without TorchServe: for the peers with the same engine, and the ceiling.

`handler` is the archive's own here: it comes first on the path of a process that is started in its folder.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.peers.classifier import Answer
from handler.answer import rank_labels
from handler.engine import OPENVINO_FILE, EngineError
from handler.openvino_engine import OpenVinoEngine
from handler.preprocess import preprocess_photo
from handler.settings import Limits
from handler.spec import read_spec


class SameEngine:
    """The archive's preprocessing and engine, with one thread: each of two workers has a core."""

    def __init__(self, folder: Path) -> None:
        self._spec, self._limits = read_spec(folder), Limits()
        if not (folder / OPENVINO_FILE).exists():
            raise EngineError(f"the archive has no {OPENVINO_FILE}; build it with engines=openvino")
        # Not load_engine: it gives a single photo the cores of two workers.
        self._engine = OpenVinoEngine(folder / OPENVINO_FILE, threads=1)

    def classify(self, photos: Sequence[bytes]) -> list[Answer]:
        inputs = [preprocess_photo(photo, self._spec.preprocessing, self._limits) for photo in photos]
        return [
            {"label": self._spec.labels[best.class_indices[0]], "probability": round(best.probabilities[0], 6)}
            for best in rank_labels(self._engine.run(np.stack(inputs)).logits_BK, self._spec)
        ]
