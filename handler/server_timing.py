"""The header Server-Timing: where the time of a request went (W3C, https://www.w3.org/TR/server-timing)."""

from collections.abc import Iterable, Iterator, Sequence

from handler.batch_decoding import Preprocessed
from handler.preprocess import ModelInput


def time_requests(
    photos: Iterable[Sequence[Preprocessed]], inference_seconds: float, handler_seconds: float
) -> Iterator[str]:
    """Yield the header of each request, whose *photos* these are, with durations in ms.

    `decode` and `preprocess` are of its own photos; `inference` and `handler` of the batch, for which it waited, and
    `inference` only if one of its photos was in it.
    """
    for own in photos:
        was_in_batch = any(isinstance(photo.given, ModelInput) for photo in own)
        durations = {
            "decode": sum(photo.decode_seconds for photo in own),
            "preprocess": sum(photo.preprocess_seconds for photo in own),
            "inference": inference_seconds if was_in_batch else 0.0,
            "handler": handler_seconds,
        }
        yield ", ".join(f"{name};dur={1000 * seconds:.2f}" for name, seconds in durations.items())
