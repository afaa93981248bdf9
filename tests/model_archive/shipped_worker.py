"""A TorchServe worker as a process: python -P shipped_worker.py ARCHIVE SHIM REFUSED PHOTO…

Loads the unpacked ARCHIVE with TorchServe's own loader, while the modules REFUSED (a JSON list) cannot be
imported; prints as JSON the answers to all photos, the engine, and the path of the handler.
"""

import json
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


class Refusal(MetaPathFinder):
    def __init__(self, refused: set[str]) -> None:
        self._refused = refused

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._refused:
            raise ModuleNotFoundError(f"{fullname} is refused", name=fullname)
        return None


def main() -> None:
    folder, shim, refused, *photos = sys.argv[1:]
    if shim:
        _install(shim, set(json.loads(refused)))
    else:
        sys.meta_path.insert(0, Refusal(set(json.loads(refused))))
    sys.path.insert(0, folder)
    sys.stdout.write(json.dumps(_answer(folder, photos)))


def _install(shim: str, refused: set[str]) -> None:
    """Let `import torch` give the shim, as in an environment without torch."""
    runpy.run_path(shim)["install"]()
    # First the shim, for torch alone, then the refusal, then the other finders.
    sys.meta_path.insert(0, Refusal(refused - {"torch"}))
    sys.meta_path.insert(0, sys.meta_path.pop())


def _answer(folder: str, photos: list[str]) -> dict[str, object]:
    from ts.context import RequestProcessor
    from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
    from ts.model_loader import TsModelLoader

    metrics = MetricsCacheYamlImpl(str(Path(folder, "handler", "metrics.yaml")))
    metrics.initialize_cache()
    service = TsModelLoader().load("fruity", folder, "fruity_handler.py", batch_size=2, metrics_cache=metrics)
    service.context.request_processor = [RequestProcessor({}) for _ in photos]
    rows = [{"body": bytearray(Path(photo).read_bytes())} for photo in photos]
    handle = service._entry_point
    return {
        "answers": [json.loads(body) for body in handle(rows, service.context)],
        "engine": handle.__self__._engine.name,
        "handler": sys.modules["handler"].__file__,
        "torch": getattr(sys.modules.get("torch"), "__version__", None),
    }


if __name__ == "__main__":
    main()
