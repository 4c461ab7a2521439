"""Labels: what looks the same is the same class."""

import unicodedata

import pytest

from skcnn.datasets._bunch import label_text

APART = unicodedata.normalize("NFD", "café noir")


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (" cat ", "cat"),
        (APART, "café noir"),
        ("café\xa0noir", "café noir"),
        ("\ufeffcafé  noir\u200b", "café noir"),
        ("\u200ecafé\tnoir\r\n", "café noir"),
        ("\u202a", "\u202a"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        (3, "3"),
        (3.0, "3"),
        (1.5, "1.5"),
        (True, "True"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_label_text(label, text):
    assert label_text(label) == text


@pytest.mark.parametrize("label", [None, "", " \xa0", "\u200b", "\ufeff "])
def test_missing_labels(label):
    with pytest.raises(ValueError, match=r"^the label is missing$"):
        label_text(label)


@pytest.mark.parametrize("label", [float("nan"), float("inf"), ["cat"], b"cat"])
def test_labels_that_are_none(label):
    with pytest.raises(ValueError, match=r"^a label is text or a finite number, not "):
        label_text(label)
