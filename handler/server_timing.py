"""The header Server-Timing: where the time of a request went (W3C, https://www.w3.org/TR/server-timing)."""

from collections.abc import Iterator, Sequence
from itertools import islice

from handler.batch_decoding import Input
from handler.preprocess import ModelInput
from handler.problem import Problem
from handler.request import Request


def time_requests(
    requests: Sequence[Request | Problem],
    inputs: Sequence[Input],
    decode_seconds: Sequence[float],
    inference_seconds: float,
    handler_seconds: float,
) -> Iterator[str]:
    """Yield the header of each request, with durations in ms.

    `decode` and `preprocess` are of its own photos; `inference` and `handler` of the batch, for which it waited, and
    `inference` only if one of its photos was in it.
    """
    photos = zip(inputs, decode_seconds, strict=True)
    for request in requests:
        own = list(islice(photos, 0 if isinstance(request, Problem) else len(request.photos)))
        usable = [given for given, _ in own if isinstance(given, ModelInput)]
        durations = {
            "decode": sum(seconds for _, seconds in own),
            "preprocess": sum(given.preprocess_seconds for given in usable),
            "inference": inference_seconds if usable else 0.0,
            "handler": handler_seconds,
        }
        yield ", ".join(f"{name};dur={1000 * seconds:.2f}" for name, seconds in durations.items())
