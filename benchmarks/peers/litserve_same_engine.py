"""python -m benchmarks.peers.litserve_same_engine PORT."""

import base64
import sys
from pathlib import Path
from typing import Any

import litserve as ls

from benchmarks.peers.same_engine import SameEngine


class Classifier(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.engine = SameEngine(Path.cwd(), batch=4)

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["photo"])

    def predict(self, photos: list[bytes]) -> list[dict[str, str | float]]:
        return self.engine.classify(photos)

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output


if __name__ == "__main__":
    api = Classifier(max_batch_size=8, batch_timeout=0.001)
    # Its documentation: on a CPU as many workers as cores.
    ls.LitServer(api, accelerator="cpu", workers_per_device=2).run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
