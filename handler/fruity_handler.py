"""TorchServe's entry: request → decode → preprocess → engine → answer → monitor. Axes as in engine.py."""

import base64
import os
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.answer import (
    Answer,
    Prediction,
    answer_description,
    answer_photos,
    answer_problem,
    describe_photo,
    predict,
)
from handler.engine import count_cpus, load_engine
from handler.explain import draw_heatmap, draw_overlay, encode_png
from handler.familiarity import read_familiarity
from handler.monitor import Monitor, log_warnings_only
from handler.preprocess import preprocess_photo
from handler.problem import Problem
from handler.request import PNG, NamedPhoto, Request, lower_names, read_request
from handler.settings import read_settings
from handler.spec import read_spec
from handler.worker_activity import WorkerActivity

Input = NDArray[np.uint8] | Problem
"""A photo as the model's input, photo_HWC, or the problem that it has."""


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
        self._max_batch = max(1, properties.get("batch_size") or 1)
        threads = self._settings.threads or max(1, count_cpus() // config.get("minWorkers", 1))
        gpu, precision = properties.get("gpu_id"), self._settings.precision
        self._engine = load_engine(folder, self._settings.engine, threads, gpu, precision, self._max_batch)
        self._activity = WorkerActivity(folder, os.getpid())
        self._monitor = Monitor(context.metrics, self._model, self._version, self._spec)
        self._warm_up()

    def handle(self, rows: list[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Return each request's response body, in order; status and content type go into *context*."""
        requests = [
            self._read(row, lower_names(context.get_all_request_header(i).items())) for i, row in enumerate(rows)
        ]
        photos = [photo for request in requests if isinstance(request, Request) for photo in request.photos]
        with self._activity.busy():
            inputs, decode_seconds = self._preprocess(photos)
            started = time.perf_counter()
            results = self._predict(inputs)
            self._monitor.record_batch(results, decode_seconds, time.perf_counter() - started)
        pairs = iter(zip(inputs, results, strict=True))
        answers = [self._answer(request, pairs) for request in requests]
        for i, answer in enumerate(answers):
            context.set_response_status(answer.status, HTTPStatus(answer.status).phrase, i)
            context.set_response_content_type(i, answer.content_type)
        return [answer.body for answer in answers]

    def _warm_up(self) -> None:
        size = self._spec.preprocessing.size
        for batch in range(1, self._max_batch + 1):
            for others_idle in {False, self._is_small(batch)}:
                self._engine.run(np.zeros((batch, size, size, 3), dtype=np.uint8), others_idle=others_idle)

    def _is_small(self, batch: int) -> bool:
        """Return whether *batch* is so small that no requests are queued for the other workers."""
        return 2 * batch <= self._max_batch

    def _read(self, row: Mapping[str, Any], headers: Mapping[str, str]) -> Request | Problem:
        try:
            return read_request(row, headers, self._settings, len(self._spec.labels))
        except Problem as problem:
            self._monitor.record_refusal(problem)
            return problem

    def _preprocess(self, photos: list[NamedPhoto]) -> tuple[list[Input], list[float]]:
        inputs: list[Input] = []
        seconds = []
        for named in photos:
            started = time.perf_counter()
            try:
                if isinstance(named.photo, Problem):
                    raise named.photo
                inputs.append(preprocess_photo(named.photo, self._spec.preprocessing, self._settings.limits))
            except Problem as problem:
                inputs.append(problem)
            seconds.append(time.perf_counter() - started)
        return inputs, seconds

    def _predict(self, inputs: list[Input]) -> list[Prediction | Problem]:
        usable = [photo_HWC for photo_HWC in inputs if not isinstance(photo_HWC, Problem)]
        predictions: list[Prediction] = []
        for start in range(0, len(usable), self._max_batch):
            photos_BHWC = np.stack(usable[start : start + self._max_batch])
            others_idle = self._is_small(len(photos_BHWC)) and self._activity.others_idle()
            outputs = self._engine.run(photos_BHWC, others_idle=others_idle)
            predictions += predict(outputs, self._spec, self._familiarity)
        rest = iter(predictions)
        return [given if isinstance(given, Problem) else next(rest) for given in inputs]

    def _answer(self, request: Request | Problem, pairs: Iterator[tuple[Input, Prediction | Problem]]) -> Answer:
        if isinstance(request, Problem):
            return answer_problem(request)
        if not request.photos:
            return answer_description(self._model, self._version, self._spec)
        entries, problems = [], []
        for named in request.photos:
            photo_HWC, result = next(pairs)
            entry = describe_photo(named.name, result, self._spec, request.top_k)
            if isinstance(result, Problem):
                problems.append(result)
            elif request.explain and not isinstance(photo_HWC, Problem):
                activations_hw = self._engine.class_activation_maps(photo_HWC[None])[0, result.class_indices[0]]
                heatmap_HW = draw_heatmap(activations_hw, self._spec.preprocessing.size)
                if request.wants_picture:
                    return Answer(encode_png(draw_overlay(photo_HWC, heatmap_HW)), content_type=PNG)
                entry["heatmap_png"] = base64.b64encode(encode_png(heatmap_HW)).decode()
            entries.append(entry)
        return answer_photos(self._model, self._version, entries, problems)
