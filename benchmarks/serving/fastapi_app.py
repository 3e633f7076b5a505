"""FastAPI around ONNX Runtime, as a hand writes it: a lean handler and a typed one."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["ONNX_MODEL"], options)
app = FastAPI()


class Body(BaseModel):
    instances: list[list[float]]


def predict(rows: list[list[float]]) -> np.ndarray:
    return session.run(None, {"x": np.array(rows, np.float32)})[0]


@app.post("/lean")
async def lean(request: Request) -> Response:
    found = predict(orjson.loads(await request.body())["instances"])
    content = orjson.dumps({"predictions": found}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json")


@app.post("/typed")
def typed(body: Body) -> dict[str, list[list[float]]]:
    return {"predictions": predict(body.instances).tolist()}
