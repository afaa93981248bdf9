"""One call in a process of its own, which ends when this one does."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def call_in_spawned_process(
    function: Callable[_Parameters, _Result], *arguments: _Parameters.args, **options: _Parameters.kwargs
) -> _Result:
    """Return what *function* does, or raise what it raises; raise `BrokenProcessPool` if the process crashed."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _end_with_parent) as process:
        try:
            return process.submit(function, *arguments, **options).result()
        except KeyboardInterrupt:
            # The executor would wait for its result.
            for child in multiprocessing.active_children():
                child.kill()
            raise


def _end_with_parent() -> None:
    """Let this process end with the one that started it, also if that one is killed."""
    if parent := multiprocessing.parent_process():

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, name="end of the parent", daemon=True).start()
