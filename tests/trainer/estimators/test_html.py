"""What a notebook shows of a model is right and harmless."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from trainer import Classifier

FAST = {"ensemble.members": 1, "network.architecture": "mlp", "train.epochs": 3}


def test_figures_and_curves_are_shown_and_text_is_escaped() -> None:
    import polars as pl

    X = pl.DataFrame({"<b>&": np.arange(80.0) % 7, "x": np.arange(80.0) % 5})
    y = (X["x"] > 2).alias("<script>alert(1)</script>")
    model = Classifier(settings=FAST | {"data.ignore": []}).fit(X, y)
    html = model._repr_html_()
    ElementTree.fromstring(html)  # every element is closed, every text escaped
    assert "accuracy" in html and "constant" in html and html.count("<svg") == 1
    assert "<script" not in html and "<b>&" not in html


def test_a_model_that_is_not_fitted_says_so() -> None:
    html = Classifier(preset="<i>")._repr_html_()
    assert "not fitted" in html and "<i>" not in html
