"""Ask two servers with MLflow's client; print what it returns, as JSON.

One serves a table, the other images. Frames are typed as pandas types them, so that
a missing value goes out as NaN or NaT.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


def main(facts: dict[str, Any]) -> dict[str, Any]:
    table = ScoringServerClient("127.0.0.1", facts["table_port"])
    table.wait_server_ready(timeout=10)
    frame = pd.DataFrame(facts["rows"])
    typed = frame.assign(since=pd.to_datetime(frame["since"]))
    answer = table.invoke(frame)
    tensor = ScoringServerClient("127.0.0.1", facts["tensor_port"])
    images = tensor.invoke(np.array(facts["images"], np.float32))
    return {
        "version": table.get_version(),
        "people": answer["predictions"],
        "typed": table.invoke(typed)["predictions"],
        "reversed": table.invoke(frame[frame.columns[::-1]])["predictions"],
        "params": table.invoke(frame, params={"threshold": 0.5})["predictions"],
        "records": table.invoke(
            json.dumps({"dataframe_records": facts["rows"]}),
        )["predictions"],
        "columns": list(answer.get_predictions().columns),
        "digits": images["predictions"],
        "frame_rows": len(images.get_predictions()),
        "wrong": refusal(table, frame.rename(columns={"income": "incme"})),
        "array": refusal(tensor, np.zeros((2, 63))),
    }


def refusal(client: ScoringServerClient, data: Any) -> str:
    try:
        return f"no refusal but {client.invoke(data)}"
    except Exception as error:  # the client raises nothing narrower
        return str(error)


print(json.dumps(main(json.load(sys.stdin))))
