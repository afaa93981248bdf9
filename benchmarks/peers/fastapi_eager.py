"""uvicorn benchmarks.peers.fastapi_eager:app --workers 2."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, UploadFile

from benchmarks.peers.eager_model import EagerClassifier


@asynccontextmanager
async def load(app: FastAPI) -> AsyncIterator[None]:
    app.state.classifier = EagerClassifier(Path.cwd())
    yield


app = FastAPI(lifespan=load)


@app.post("/predict")
async def predict(request: Request, file: UploadFile) -> dict[str, str | float]:
    result: dict[str, str | float] = request.app.state.classifier.classify([await file.read()])[0]
    return result
