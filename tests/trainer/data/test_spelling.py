"""Which texts fit a spelling, and which contradict it."""

from __future__ import annotations

import pytest

from trainer.data.spelling import (
    TEXT,
    Spelling,
    alike,
    conflict,
    fits,
    fitting_share,
    strictly,
)


@pytest.mark.parametrize(
    ("spelling", "text", "fit", "strict"),
    [
        (TEXT, "anything", True, True),
        (Spelling("numeric"), "1.5", True, True),
        (Spelling("numeric"), "x", False, False),
        (Spelling("numeric", "1.234,56 kg"), "1,5 kg", True, True),
        (Spelling("numeric", "1.234,56 kg"), "1.5", True, False),
        (Spelling("datetime", "%d/%m/%Y"), "31/12/2024", True, True),
        (Spelling("datetime", "%d/%m/%Y"), "2024-12-31", True, False),
        (Spelling("datetime"), "20241231T1200", True, True),
    ],
)
def test_plain_and_iso_fit_too_but_not_strictly(
    spelling: Spelling, text: str, fit: bool, strict: bool
) -> None:
    assert (fits(spelling, text), strictly(spelling, text)) == (fit, strict)


def test_a_share_counts_how_often_a_text_occurs() -> None:
    counts = {"1": 3, "x": 1}
    assert fitting_share(Spelling("numeric"), ["1", "x"], counts) == 0.75


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["0.5", "1.903", "1,25"], ("0.5", "1.903")),
        (["1.903", "1,25"], None),
        (["0.5", "1,25"], None),
    ],
)
def test_a_mark_that_separates_thousands_and_decimals_is_a_conflict(
    texts: list[str], found: tuple[str, str] | None
) -> None:
    assert conflict(texts, Spelling("numeric", "1.234,56")) == found
    assert conflict(texts, Spelling("numeric")) is None


def test_texts_that_differ_in_unseen_characters_are_alike() -> None:
    texts = [
        "Köln",
        "köln ",
        "KO\u0308LN",
        "Bonn",
        "new york",
        "New  York",
        "x\u200b",
        "x",
    ]
    assert alike(texts) == [texts[:3], texts[4:6], texts[6:]]
    assert alike(["a", "b", "a-b", "ab", "1", "1.0"]) == []
