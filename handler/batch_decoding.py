"""The photos of a batch of requests to the model's inputs, within the batch's budget of CPU time.

docs/decisions/0024 has the reasons.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from handler.child_process import ChildFailed, run_in_child
from handler.decode import Header, import_decoder
from handler.preprocess import ModelInput, preprocess_with_header
from handler.problem import Busy, Problem, UnusablePhoto, problem_of
from handler.request import NamedPhoto, Request
from handler.settings import Limits
from handler.spec import Preprocessing

Input = ModelInput | Problem
"""A photo as the model's input, or the problem that it has."""

# A decoder may take this many times what its photo's header promises, and the decoders of a request together may take
# this much more: the estimates are for whole photos, not for a process or for tiny ones.
_OVERRUN = 2.0
_OVERRUN_S = 0.5


class Preprocessed(NamedTuple):
    """One photo of a request."""

    given: Input
    decode_seconds: float
    """Also of a photo that cannot be used."""

    @property
    def preprocess_seconds(self) -> float:
        return self.given.preprocess_seconds if isinstance(self.given, ModelInput) else 0.0


class _Isolated(msgspec.Struct, frozen=True, array_like=True):
    """What a process sends back: a model's input, or a problem."""

    photo_HWC: bytes = b""
    header: Header | None = None
    decode_seconds: float = 0.0
    preprocess_seconds: float = 0.0
    problem_kind: str = ""
    detail: str = ""


def defer_requests(requests: Sequence[Request | Problem], limits: Limits) -> list[Request | Problem]:
    """Return *requests* with a `Busy` in place of each that does not fit into the batch's budget.

    The cheapest ones are kept, so that small photos are answered beside requests that use up what is allowed. One
    request always fits.
    """
    costs = [
        sum(named.cost.seconds for named in request.photos) if isinstance(request, Request) else 0.0
        for request in requests
    ]
    kept, remaining = list(requests), limits.max_batch_seconds
    for index in sorted(range(len(requests)), key=costs.__getitem__):
        if costs[index] > remaining:
            kept[index] = Busy(
                "the photos of this request take longer to decode than there is time for beside the other requests; "
                "try again after Retry-After seconds, or send smaller photos"
            )
        else:
            remaining -= costs[index]
    return kept


def preprocess_request(request: Request | Problem, preprocessing: Preprocessing, limits: Limits) -> list[Preprocessed]:
    """Return the photos of *request*, none if it was refused; a photo that cannot be used has its problem."""
    photos, overrun_seconds = list[Preprocessed](), _OVERRUN_S
    for named in () if isinstance(request, Problem) else request.photos:
        started = time.perf_counter()
        given, overrun_seconds = _preprocess(named, preprocessing, limits, overrun_seconds)
        took = time.perf_counter() - started
        photos.append(Preprocessed(given, given.decode_seconds if isinstance(given, ModelInput) else took))
    return photos


def _preprocess(
    named: NamedPhoto, preprocessing: Preprocessing, limits: Limits, overrun_seconds: float
) -> tuple[Input, float]:
    """Return the input, and what is left of *overrun_seconds*."""
    if isinstance(named.photo, Problem):
        return named.photo, overrun_seconds
    if named.cost.isolated:
        max_seconds = _OVERRUN * named.cost.seconds + overrun_seconds
        given, cpu_seconds = preprocess_isolated(named.photo, preprocessing, limits, max_seconds)
        return given, min(overrun_seconds, max(0.0, max_seconds - cpu_seconds))
    try:
        return preprocess_with_header(named.photo, preprocessing, limits), overrun_seconds
    except Problem as problem:
        return problem, overrun_seconds


def preprocess_isolated(
    photo: bytes | bytearray, preprocessing: Preprocessing, limits: Limits, max_cpu_seconds: float
) -> tuple[Input, float]:
    """Return what `preprocess_with_header` does, in a process of its own, and its seconds of CPU time."""
    # Here, or each of the processes would do it.
    import_decoder(photo)

    def preprocess() -> bytes:
        try:
            given = preprocess_with_header(photo, preprocessing, limits)
            seconds = given.decode_seconds, given.preprocess_seconds
            return msgspec.msgpack.encode(_Isolated(given.photo_HWC.tobytes(), given.header, *seconds))
        except Problem as problem:
            return msgspec.msgpack.encode(_Isolated(problem_kind=problem.kind, detail=str(problem)))

    try:
        content, cpu_seconds = run_in_child(preprocess, max_cpu_seconds)
    except ChildFailed as failure:
        return UnusablePhoto(f"the image cannot be decoded ({failure}); send a JPEG"), failure.cpu_seconds
    except OSError as error:
        return Busy(f"the server cannot decode this format now ({error.strerror}); try again, or send a JPEG"), 0.0
    isolated = msgspec.msgpack.decode(content, type=_Isolated)
    if isolated.header is None:
        return problem_of(isolated.problem_kind, isolated.detail), cpu_seconds
    shape = preprocessing.size, preprocessing.size, 3
    photo_HWC = np.frombuffer(isolated.photo_HWC, dtype=np.uint8).reshape(shape)
    seconds = isolated.decode_seconds, isolated.preprocess_seconds
    return ModelInput(photo, photo_HWC, isolated.header, *seconds), cpu_seconds
