"""uvicorn --factory benchmarks.peers.fastapi_server:eager --workers 2, or :same_engine."""

from pathlib import Path

from fastapi import FastAPI, Request, UploadFile

from benchmarks.peers.classifier import Answer, load_classifier


def eager() -> FastAPI:
    app, classifier = FastAPI(), load_classifier("eager", Path.cwd())

    @app.post("/predict")
    async def predict(photo: UploadFile) -> Answer:
        return classifier.classify([await photo.read()])[0]

    return app


def same_engine() -> FastAPI:
    app, classifier = FastAPI(), load_classifier("same-engine", Path.cwd())

    # In the event loop: each worker has one core, so threads would only take turns on it.
    @app.post("/predict")
    async def predict(request: Request) -> Answer:
        return classifier.classify([await request.body()])[0]

    return app
