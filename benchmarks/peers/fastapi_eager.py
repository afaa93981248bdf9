"""uvicorn benchmarks.peers.fastapi_eager:app --workers 2."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, UploadFile
from PIL import Image

from benchmarks.peers.eager_model import EagerClassifier


@asynccontextmanager
async def load(app: FastAPI) -> AsyncIterator[None]:
    app.state.classifier = EagerClassifier(Path.cwd())
    yield


app = FastAPI(lifespan=load)


@app.post("/predict")
async def predict(request: Request, file: UploadFile) -> dict[str, str | float]:
    image = Image.open(io.BytesIO(await file.read())).convert("RGB")
    result: dict[str, str | float] = request.app.state.classifier.classify([image])[0]
    return result
