"""One flipped bit anywhere in a cache: features come out right, without a crash, a hang or anything to do by hand."""

import multiprocessing
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from skcnn import CNNFeatureExtractor
from skcnn.cache import FeatureCache, _digests
from skcnn.exceptions import StoreWarning

# All names that a layer or a pooling may have, so that a memo or manifest that was believed would give other features.
EXTRACTORS = ({"layer": "first"}, {"layer": "second"}, {"layer": 3}, {"layer": -3, "pooling": "max"})


def features_of(model, files, cache):
    """Return the features that each extractor makes, as a process would that has just started."""
    FeatureCache._opened.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StoreWarning)
        return [
            CNNFeatureExtractor(str(model), cache=str(cache), engine="keras", **each).fit_transform(files)
            for each in EXTRACTORS
        ]


def flip_bits(folder, model, files, n_flips, seed, queue):
    """Flip one bit in each of many copies of a filled cache; send the names of its files, and what went wrong."""
    warnings.simplefilter("ignore")
    _digests.TICK_NS = -(10**18)  # files are trusted at once
    pristine, cache = folder / "pristine", folder / "cache"
    expected = features_of(model, files, pristine)
    stored = sorted(path.relative_to(pristine) for path in pristine.rglob("*.*"))
    rng = np.random.default_rng(seed)
    wrong = []
    for number in range(n_flips):
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(pristine, cache)
        # As often in small files as in large ones.
        path = cache / stored[number % len(stored)]
        data = bytearray(path.read_bytes())
        bit = int(rng.integers(8 * len(data)))
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            for _ in range(2):  # the second finds what the first made of the damage
                found = features_of(model, files, cache)
                for ours, theirs in zip(found, expected, strict=True):
                    np.testing.assert_allclose(ours, theirs, atol=1e-6)
        except Exception as error:
            wrong.append((str(path.relative_to(cache)), bit, repr(error)[:300]))
    queue.put(([path.name for path in stored], wrong))


@pytest.mark.slow
@pytest.mark.parametrize("n_flips", [4, 2000])
def test_one_flipped_bit_anywhere(n_flips, tiny_model, files, tmp_path):
    model = tmp_path / "tiny.keras"
    tiny_model.save(model)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=flip_bits, args=(tmp_path, model, list(map(str, files)), n_flips, 0, queue))
    worker.start()
    worker.join(120 + n_flips)
    assert worker.exitcode == 0, "it hung" if worker.is_alive() else "it crashed"
    names, wrong = queue.get(timeout=60)
    assert not wrong, wrong[:5]
    suffixes = sorted({Path(name).suffix for name in names})
    assert suffixes == [".h5", ".json", ".sqlite"]
    assert sum(name == "manifest.json" for name in names) == sum(name.startswith("shard-") for name in names) == 4
