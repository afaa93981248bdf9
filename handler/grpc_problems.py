"""A status other than OK for calls over TorchServe's gRPC that cannot be answered.

TorchServe 0.12 sends what a handler returns with the status OK. It has another status only for all requests of a batch
together, that of an exception. So a call gets it unless its batch has a request that is answered, or one over HTTP:
those keep their answers, and the call gets its problem document with OK.
"""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from handler.answer import Answer, answer_problem
from handler.problem import Busy, MalformedRequest
from handler.protocols import Call, Protocol


def answer_over_grpc(calls: Sequence[Call], answers: Sequence[Answer], context: Any) -> None:
    """Prepare the answers to calls over gRPC; raise TorchServe's `PredictionException` if it is that of all *calls*."""
    of_grpc = [i for i, call in enumerate(calls) if call.protocol == Protocol.GRPC]
    for i in of_grpc:
        # Without this, TorchServe 0.12 kills the worker at a call of StreamPredictions.
        context.set_response_header(i, "ts_stream_next", "false")
    if calls and len(of_grpc) == len(calls) and all(answer.status != HTTPStatus.OK for answer in answers):
        _raise_problem(answers)


def _raise_problem(answers: Sequence[Answer]) -> None:
    # Part of TorchServe, which is not there where an archive is checked without a server.
    from ts.utils.util import PredictionException

    logging.getLogger("ts.service").addFilter(_is_of_the_server)
    together = MalformedRequest("this call and others that ran with it are refused; send it again alone for the reason")
    text = answers[0].body if len({answer.body for answer in answers}) == 1 else answer_problem(together).body
    # TorchServe makes UNAVAILABLE of 503, INVALID_ARGUMENT of 400, FAILED_PRECONDITION of 415 and 422, and of 413
    # RESOURCE_EXHAUSTED, which clients ask again.
    is_busy = any(answer.status == Busy.status for answer in answers)
    raise PredictionException(text.decode(), Busy.status if is_busy else MalformedRequest.status)


def _is_of_the_server(record: logging.LogRecord) -> bool:
    """Return False for TorchServe's traceback of what is raised here: a photo's problem is not the server's."""
    return not (record.exc_info and type(record.exc_info[1]).__name__ == "PredictionException")
