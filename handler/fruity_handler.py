"""TorchServe's entry: request → decode → preprocess → engine → answer → monitor and prediction_log.

Axes as in engine.py.
"""

import base64
import logging
import os
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from handler.answer import Answer, Prediction, describe_model, describe_photo, predict
from handler.batch_decoding import Input, defer_requests, preprocess_request
from handler.drift_reference import read_drift_reference
from handler.engine import count_cpus, load_engine
from handler.explain import draw_heatmap, draw_overlay, encode_png
from handler.familiarity import read_familiarity
from handler.freed_memory import return_freed_memory
from handler.grpc_problems import answer_over_grpc
from handler.hang_limit import end_worker_if_it_hangs
from handler.monitor import Monitor, log_warnings_only
from handler.observation import Observation, Statistics, describe_photos
from handler.prediction_log import PredictionLog, read_log_settings
from handler.preprocess import ModelInput
from handler.problem import RETRY_AFTER_S, Busy, Problem
from handler.protocols import Call, answer_call, describe_call, read_call, refuse_call
from handler.request import DESCRIBE, PNG, PROBE, is_explanation, lower_names
from handler.server_timing import time_requests
from handler.settings import read_settings
from handler.spec import read_spec
from handler.tracing import BatchTimes, open_tracing
from handler.worker_activity import WorkerActivity, claim_number, start_in_turn

Result = Observation | Problem


class FruityHandler:
    """One per worker; TorchServe calls `initialize` once, then `handle` for every batch."""

    def initialize(self, context: Any) -> None:
        """Load the unpacked archive; raise `SpecError`, `SettingsError` or `EngineError`."""
        log_warnings_only()
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        config = context.model_yaml_config or {}
        self._settings = read_settings(config)
        self._spec = read_spec(folder)
        self._familiarity = read_familiarity(folder)
        self._model: str = context.model_name
        self._version: str = context.manifest["model"]["modelVersion"]
        self._description = describe_model(self._model, self._version, self._spec)
        self._max_batch = max(1, properties.get("batch_size") or 1)
        # 0 for an archive whose workers are started later, by `make scale`.
        num_workers = max(1, config.get("minWorkers", 1))
        threads = self._settings.threads or max(1, count_cpus() // num_workers)
        gpu, precision = properties.get("gpu_id"), self._settings.precision
        with start_in_turn(folder):
            self._engine = load_engine(folder, self._settings.engine, threads, gpu, precision)
            self._warm_up()
        self._activity = WorkerActivity(folder, os.getpid())
        log_settings = read_log_settings(os.environ)
        self._log = None if log_settings is None else PredictionLog(log_settings, self._version, self._spec)
        self._tracing = open_tracing(os.environ)
        reference, number = read_drift_reference(folder), claim_number(folder)
        gpu_memory_bytes = self._engine.gpu_memory_bytes
        self._monitor = Monitor(
            context.metrics, self._model, self._version, self._spec, reference, number, gpu_memory_bytes
        )
        # What compiling used: 4 of a worker's 139 MB, for the 400 MB that two workers may take with Java.
        return_freed_memory()
        self._monitor.start()

    def handle(self, rows: list[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Return each request's response body, in order; status and content type go into *context*."""
        headers = [lower_names(context.get_all_request_header(i).items()) for i in range(len(rows))]
        ids = [own_headers.get("x-request-id") or context.get_request_id(i) for i, own_headers in enumerate(headers)]
        try:
            return self._handle(rows, headers, ids, context)
        except Exception:
            # TorchServe fails the whole batch and logs the traceback, without saying whose it was.
            logging.getLogger(__name__).error("the model failed on the requests %s", ", ".join(ids))
            raise

    def _handle(
        self, rows: list[Mapping[str, Any]], headers: list[dict[str, str]], ids: list[str], context: Any
    ) -> list[bytes]:
        started = time.perf_counter()
        num_labels = len(self._spec.labels)
        calls = [read_call(row, own, self._settings, num_labels) for row, own in zip(rows, headers, strict=True)]
        limits = self._settings.limits
        requests = defer_requests([call.request for call in calls], limits)
        calls = [call._replace(request=request) for call, request in zip(calls, requests, strict=True)]
        with self._activity.busy():
            photos = [preprocess_request(request, self._spec.preprocessing, limits) for request in requests]
            inputs = [photo.given for own in photos for photo in own]
            preprocessed = time.perf_counter()
            with end_worker_if_it_hangs():
                observed = iter(self._predict(inputs))
                inference_seconds = time.perf_counter() - preprocessed
                # Of each request: its photos' results, or the one problem if it was refused as a whole.
                results: list[list[Result]] = [
                    [request] if isinstance(request, Problem) else list(islice(observed, len(request.photos)))
                    for request in requests
                ]
                answers = [self._answer(call, own_results) for call, own_results in zip(calls, results, strict=True)]
        timings = time_requests(photos, inference_seconds, time.perf_counter() - started)
        _set_responses(context, answers, timings)
        counted = [i for i, own_headers in enumerate(headers) if not {DESCRIBE, PROBE} & own_headers.keys()]
        for i in counted:
            self._record(headers[i], ids[i], answers[i], results[i])
        if counted:
            num_photos = sum(isinstance(given, ModelInput) for given in inputs)
            decode_seconds = [photo.decode_seconds for own in photos for photo in own]
            self._monitor.record_batch(num_photos, decode_seconds, inference_seconds, time.perf_counter() - started)
        if self._tracing is not None:
            self._tracing.record_batch(headers, photos, BatchTimes(started, preprocessed, inference_seconds))
        answer_over_grpc(calls, answers, context)
        return [answer.body for answer in answers]

    def _warm_up(self) -> None:
        size = self._spec.preprocessing.size
        for batch in range(1, self._max_batch + 1):
            for others_idle in {False, self._is_small(batch)}:
                self._engine.run(np.zeros((batch, size, size, 3), dtype=np.uint8), others_idle=others_idle)

    def _is_small(self, batch: int) -> bool:
        """Return whether *batch* is so small that no requests are queued for the other workers."""
        return 2 * batch <= self._max_batch

    def _predict(self, inputs: list[Input]) -> list[Result]:
        usable = [given.photo_HWC for given in inputs if isinstance(given, ModelInput)]
        predicted: list[tuple[Prediction, Statistics]] = []
        for start in range(0, len(usable), self._max_batch):
            photos_BHWC = np.stack(usable[start : start + self._max_batch])
            others_idle = self._is_small(len(photos_BHWC)) and self._activity.others_idle()
            outputs = self._engine.run(photos_BHWC, others_idle=others_idle)
            predictions = predict(outputs, self._spec, self._familiarity)
            predicted += zip(predictions, describe_photos(photos_BHWC, predictions), strict=True)
        rest = iter(predicted)
        return [given if isinstance(given, Problem) else Observation(given, *next(rest)) for given in inputs]

    def _answer(self, call: Call, results: list[Result]) -> Answer:
        request = call.request
        if isinstance(request, Problem):
            return refuse_call(call, request)
        if not request.photos:
            return describe_call(call, self._description, has_familiarity=self._familiarity is not None)
        entries, problems = [], []
        for named, result in zip(request.photos, results, strict=True):
            if isinstance(result, Problem):
                entries.append(describe_photo(named.name, result, self._spec, request.top_k))
                problems.append(result)
                continue
            entry = describe_photo(named.name, result.prediction, self._spec, request.top_k)
            if request.explain:
                photo_HWC, label = result.model_input.photo_HWC, result.prediction.class_indices[0]
                activations_hw = self._engine.class_activation_maps(photo_HWC[None])[0, label]
                heatmap_HW = draw_heatmap(activations_hw, self._spec.preprocessing.size)
                if request.wants_picture:
                    return Answer(encode_png(draw_overlay(photo_HWC, heatmap_HW)), content_type=PNG)
                entry["heatmap_png"] = base64.b64encode(encode_png(heatmap_HW)).decode()
            entries.append(entry)
        return answer_call(call, request, self._description, entries, problems)

    def _record(self, headers: Mapping[str, str], request_id: str, answer: Answer, results: list[Result]) -> None:
        answered = answer.status == HTTPStatus.OK
        self._monitor.record_request(explain=is_explanation(headers), answered=answered, results=results)
        if self._log is not None:
            observed = [(index, one) for index, one in enumerate(results) if isinstance(one, Observation)]
            self._monitor.record_logged(self._log.write(request_id, observed))


def _set_responses(context: Any, answers: Iterable[Answer], timings: Iterable[str]) -> None:
    for i, (answer, timing) in enumerate(zip(answers, timings, strict=True)):
        context.set_response_status(answer.status, HTTPStatus(answer.status).phrase, i)
        context.set_response_content_type(i, answer.content_type)
        context.set_response_header(i, "Server-Timing", timing)
        if answer.status == Busy.status:
            context.set_response_header(i, "Retry-After", RETRY_AFTER_S)
        for name, value in answer.headers:
            context.set_response_header(i, name, value)
