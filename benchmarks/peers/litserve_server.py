"""python -m benchmarks.peers.litserve_server PORT eager, or same-engine."""

import base64
import sys
from pathlib import Path

import litserve as ls

from benchmarks.peers.classifier import Answer, load_classifier


class Eager(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = load_classifier("eager", Path.cwd())

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["photo"])

    def predict(self, photo: bytes) -> Answer:
        return self.classifier.classify([photo])[0]


class SameEngine(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = load_classifier("same-engine", Path.cwd())

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["photo"])

    def predict(self, photos: list[bytes]) -> list[Answer]:
        return self.classifier.classify(photos)

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        return output


if __name__ == "__main__":
    port, way = int(sys.argv[1]), sys.argv[2]
    api = Eager() if way == "eager" else SameEngine(max_batch_size=8, batch_timeout=0.001)
    # Its documentation: on a CPU as many workers as cores.
    ls.LitServer(api, accelerator="cpu", workers_per_device=2).run(
        host="127.0.0.1", port=port, generate_client_file=False, log_level="warning"
    )
