"""Save the model as MLflow logs ONNX: python mlflow_model.py model.onnx DIRECTORY."""

from __future__ import annotations

import sys

import mlflow.onnx
import onnx

mlflow.onnx.save_model(onnx.load(sys.argv[1]), sys.argv[2], pip_requirements=[])
