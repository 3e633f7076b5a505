"""MLServer's own way to serve something new: a runtime around ONNX Runtime."""

from __future__ import annotations

import os

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["ONNX_MODEL"], options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        X = NumpyCodec.decode_input(payload.inputs[0])
        (found,) = self.session.run(None, {"x": X.astype("float32", copy=False)})
        output = NumpyCodec.encode_output("probabilities", found)
        return InferenceResponse(model_name=self.name, outputs=[output])
