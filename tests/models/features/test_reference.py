"""A reference counts training rows and predictions, as the service will count."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from models.features.histograms import Histogram, Shares
from models.features.predictions import Classification, Regression
from models.features.reference import Reference

NAN = np.nan


def test_every_column_and_output_of_a_table_is_counted(classifier: Any) -> None:
    inputs, raw = classifier.manifest.inputs, classifier.raw
    answer = {"label": np.array(["yes", "no", "yes", "yes"], object)}
    output = Classification(("no", "yes"))
    reference = Reference.fit(inputs, raw, output, answer)
    assert list(reference.inputs) == ["age", "member", "joined", "city", "planet"]
    assert reference.inputs["age"] == Histogram.fit(raw["age"])
    assert reference.inputs["joined"] == Histogram.fit(raw["joined"])
    city = Shares(("Basel", "Bern", "Chur"), (2 / 6, 2 / 6, 1 / 6), 0.0, 1 / 6)
    assert reference.inputs["city"] == city
    assert reference.outputs == {"label": Shares(("no", "yes"), (0.25, 0.75), 0.0, 0.0)}
    assert (reference.rows, reference.answered) == (6, 4)


def test_labels_that_are_no_texts_are_counted_as_they_are_spelled(imager: Any) -> None:
    answer = {"label": np.array([2, 0, 2, 2], object)}
    output = Classification((0, 1, 2))
    reference = Reference.fit(imager.manifest.inputs, imager.raw, output, answer)
    expected = Shares(("0", "1", "2"), (0.25, 0.0, 0.75), 0.0, 0.0)
    assert reference.outputs["label"] == expected


def test_of_an_image_the_mean_is_counted(imager: Any) -> None:
    answer = {"value": np.array([1.0, 2.0])}
    output = Regression(0.0, 1.0)
    reference = Reference.fit(imager.manifest.inputs, imager.raw, output, answer)
    means = np.array([image.astype(float).mean() for image in imager.raw])
    assert reference.inputs == {"x": Histogram.fit(means)}
    assert reference.outputs == {"value": Histogram.fit(answer["value"])}


def test_a_reference_survives_the_manifest(made: Any) -> None:
    reference = made.manifest.reference
    written = msgspec.json.encode(reference)
    assert msgspec.json.decode(written, type=Reference) == reference
