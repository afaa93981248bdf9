"""uvicorn benchmarks.peers.fastapi_same_engine:app --workers 2."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request

from benchmarks.peers.same_engine import SameEngine


@asynccontextmanager
async def load(app: FastAPI) -> AsyncIterator[None]:
    app.state.engine = SameEngine(Path.cwd())
    yield


app = FastAPI(lifespan=load)


# In the event loop: each worker has one core, so threads would only take turns on it.
@app.post("/predict")
async def predict(request: Request) -> dict[str, str | float]:
    result: dict[str, str | float] = request.app.state.engine.classify([await request.body()])[0]
    return result
