"""With ``verbose=1`` a fit says what it will cost before it begins."""

from __future__ import annotations

import re

import numpy as np
import pytest

from skcnn import Augmentation, CNNClassifier, FineTunedCNNClassifier

LABELS = ["cat", "dog", "emu"] * 4
FITS = {
    "the head": ({"unfreeze": 0}, 12, None),
    "the top": ({"unfreeze": 1}, 24, None),
    "all": ({"unfreeze": "all"}, 12, None),
    "stored views": ({"unfreeze": 1, "augmentation": Augmentation(), "augmented_views": 5}, 12 + 60, None),
    "stored views of the head": ({"unfreeze": 0, "augmentation": Augmentation(), "augmented_views": 5}, 12 + 60, None),
    "fresh views": ({"unfreeze": 1, "augmentation": Augmentation()}, 12, 24),
}


def announced(text):
    """Return what a fit said of passes before and while it is trained, and of bytes."""
    found = re.search(
        r"^12 images: at most (\d+) passes through the frozen layers before training"
        r"(?:, and (\d+) while it is trained)?(?:; ([\d.]+) (B|kB|MB) more in .*)?$",
        text,
        re.MULTILINE,
    )
    assert found is not None, text
    before, during, size, unit = found.groups()
    return int(before), during and int(during), size and float(size) * {"B": 1, "kB": 1e3, "MB": 1e6}[unit]


@pytest.mark.parametrize("name", FITS)
def test_passes_and_bytes(name, tiny_model, files, tmp_path, run_sizes, capsys, later):
    settings, before, during = FITS[name]
    clf = FineTunedCNNClassifier(tiny_model, epochs=2, cache=tmp_path, random_state=0, verbose=1, **settings)
    clf.fit(files, LABELS)
    said_before, said_during, size = announced(capsys.readouterr().err)
    assert (said_before, said_during) == (before, during)
    assert sum(run_sizes) == before + (during or 0)
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*.h5"))
    assert 12 * 8 * 4 <= size <= stored
    # What is stored is not computed again, and nothing is said of it.
    clf.fit(files, LABELS)
    said = capsys.readouterr().err
    assert (announced(said) == (0, during, None)) if during else ("passes" not in said)


@pytest.mark.parametrize("verbose", [None, 0])
def test_nothing_is_said_unless_asked_for(tiny_model, files, verbose, capsys):
    FineTunedCNNClassifier(tiny_model, unfreeze=1, epochs=1, verbose=verbose).fit(files, LABELS)
    assert capsys.readouterr().err == ""


def test_without_a_cache_nothing_is_stored(tiny_model, files, capsys):
    FineTunedCNNClassifier(tiny_model, unfreeze=1, epochs=1, cache=None, verbose=1).fit(files, LABELS)
    assert announced(capsys.readouterr().err) == (24, None, None)


def test_counters_are_words(tiny_model, files, tmp_path, capsys):
    clf = FineTunedCNNClassifier(tiny_model, unfreeze=0, cache=tmp_path, verbose=1).fit(files[:6], LABELS[:6])
    capsys.readouterr()
    clf.fit([*files, files[0]], [*LABELS, LABELS[0]])
    line = next(line for line in capsys.readouterr().err.splitlines() if "computed" in line)
    assert line.endswith("7 read from the cache, 6 computed")
    assert np.isfinite(clf.predict_proba(files)).all()


# With views, the pixels that they are warped from are stored beside those that `predict` sees.
@pytest.mark.parametrize(("augmentation", "n_pixels"), [(None, 16 * 16), (Augmentation(), 16 * 16 + 20 * 20)])
def test_pixels_of_a_network_from_scratch(image_paths, tmp_path, capsys, augmentation, n_pixels):
    clf = CNNClassifier("lenet", input_size=16, epochs=1, cache=tmp_path, verbose=1, augmentation=augmentation)
    clf.fit(image_paths, LABELS)
    found = re.search(r"^12 images: ([\d.]+) kB more in ", capsys.readouterr().err, re.MULTILINE)
    said, stored = float(found[1]) * 1e3, sum(path.stat().st_size for path in tmp_path.rglob("*.h5"))
    assert 12 * n_pixels * 3 <= 1.01 * said <= 1.01 * stored
