"""Ask a server with KServe's client, V1 and V2; print what it returns, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from httpx import HTTPStatusError
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


async def main(facts: dict[str, Any]) -> dict[str, Any]:
    url = facts["url"]
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        v1 = {
            "live": await client.is_server_live(url),
            "ready": await client.is_model_ready(url, "people"),
            "people": await client.infer(
                url, {"instances": facts["rows"]}, model_name="people"
            ),
            "digits": await client.infer(
                url, {"instances": facts["images"]}, model_name="digits"
            ),
            "unknown": await refusal(client.is_model_ready(url, "peeple")),
            "wrong": await refusal(
                client.infer(url, {"instances": [{"incme": 1}]}, model_name="people")
            ),
        }
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        v2 = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": await client.is_model_ready(url, "people"),
            "unknown_ready": await client.is_model_ready(url, "peeple"),
            "people": plain(await client.infer(url, table(facts), "people")),
            "digits": plain(await client.infer(url, images(facts), "digits")),
            "wrong": await refusal(client.infer(url, images(facts), "people")),
        }
    return {"v1": v1, "v2": v2}


async def refusal(call: Any) -> str:
    try:
        return f"no refusal but {await call}"
    except HTTPStatusError as error:
        return f"{error.response.status_code} {error}"


def table(facts: dict[str, Any]) -> InferRequest:
    n = len(facts["rows"])
    inputs = [
        InferInput(name, [n], datatype, [row[name] for row in facts["rows"]])
        for name, datatype in facts["datatypes"].items()
    ]
    return InferRequest("people", inputs, request_id="r-1")


def images(facts: dict[str, Any]) -> InferRequest:
    X = np.array(facts["images"], np.float32)
    tensor = InferInput("x", list(X.shape), "FP32")
    tensor.set_data_from_numpy(X, binary_data=False)
    return InferRequest("digits", [tensor], request_id="r-2")


def plain(response: Any) -> dict[str, Any]:
    return {
        "id": response.id,
        "model": response.model_name,
        "outputs": {o.name: o.as_numpy().tolist() for o in response.outputs},
    }


print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
