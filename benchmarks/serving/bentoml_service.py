"""BentoML's service of arrays, around ONNX Runtime."""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=2)
class Bench:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["ONNX_MODEL"], options)

    @bentoml.api
    def predict(self, instances: np.ndarray) -> np.ndarray:
        X = instances.astype("float32", copy=False)
        return self.session.run(None, {"x": X})[0]
