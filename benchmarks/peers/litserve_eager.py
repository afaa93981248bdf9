"""python -m benchmarks.peers.litserve_eager PORT."""

import base64
import sys
from pathlib import Path

import litserve as ls

from benchmarks.peers.eager_model import EagerClassifier


class Classifier(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = EagerClassifier(Path.cwd())

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["photo"])

    def predict(self, photo: bytes) -> dict[str, str | float]:
        return self.classifier.classify([photo])[0]


if __name__ == "__main__":
    # Its documentation: on a CPU as many workers as cores.
    ls.LitServer(Classifier(), accelerator="cpu", workers_per_device=2).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
