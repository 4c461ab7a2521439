"""One call's way from images to activations: what is read, what is held, who waits, and what is never computed twice."""

import logging
import shutil
import threading
import time
import weakref

import numpy as np
import pytest

from skcnn._parallel import available_threads
from skcnn.cache import FeatureStore, _lock
from skcnn.cache._digests import DigestMemo
from skcnn.exceptions import BackboneError
from skcnn.images import ImageSequence, as_image_sequence
from skcnn.images._batch_extractor import BatchExtractor
from skcnn.images._cached_extraction import CachedExtraction

DESCRIPTION = {"network": "brightness"}


class Brightness(BatchExtractor):
    """Gives the mean of each channel, and counts."""

    name = "brightness"

    def __init__(self, before=lambda: None):
        self.before = before
        self.sizes = []

    def describe(self):
        return DESCRIPTION

    def prepare(self, pixels, name):
        return pixels

    def run(self, prepared):
        self.before()
        self.sizes.append(len(prepared))
        return np.stack(prepared).astype(np.float32).mean(axis=(1, 2))

    def output_shape(self):
        return (3,)


def extraction(X, store=None, *, runner=None, memo=None, batch_size=4, verbose=0, dtype="float32"):
    """Return the extraction of images, and the extractor it uses."""
    runner = runner or Brightness()
    one = CachedExtraction(
        as_image_sequence(X),
        runner,
        store=store,
        memo=memo,
        dtype=np.dtype(dtype),
        batch_size=batch_size,
        verbose=verbose,
    )
    return one, runner


def features_of(X, store=None, **settings):
    return extraction(X, store, **settings)[0].run()[:]


def in_thread(function):
    """Start a function in a thread; return the thread, and the list that will hold what it gave."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    return thread, results


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "cache", DESCRIPTION)


@pytest.fixture
def expected(pixels):
    return pixels.astype(np.float32).mean(axis=(1, 2))


# What is held ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_images", [40, 160])
def test_only_a_few_batches_of_pixels_are_ever_alive(n_images, monkeypatch):
    X = np.random.default_rng(0).integers(0, 256, (n_images, 16, 16, 3), dtype=np.uint8)
    lock, alive, most = threading.Lock(), 0, 0
    decode = ImageSequence.decode

    def died():
        nonlocal alive
        with lock:
            alive -= 1

    def counting(self, content):
        nonlocal alive, most
        image = decode(self, content).copy()
        with lock:
            alive += 1
            most = max(most, alive)
        weakref.finalize(image, died)
        return image

    monkeypatch.setattr(ImageSequence, "decode", counting)
    # A slow network: the threads have all the time to run ahead of it.
    runner = Brightness(before=lambda: time.sleep(0.01))
    features_of(X, batch_size=4, runner=runner)
    assert runner.sizes == [4] * (n_images // 4)
    assert 4 <= most <= 3 * 4 + available_threads()
    assert alive == 0


def test_the_threads_do_run_ahead(pixels):
    waited = threading.Event()
    read = ImageSequence.read
    begun = []

    def noting(self, index, memo=None):
        begun.append(index)
        if len(begun) > 6:
            waited.set()
        return read(self, index, memo)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageSequence, "read", noting)
        # The first batch of four waits inside the network until images of the next have been read.
        features_of(pixels, runner=Brightness(before=lambda: waited.wait(10)))
    assert waited.is_set()


def test_stored_images_are_not_decoded(files, store, monkeypatch, expected):
    features_of(files, store)
    monkeypatch.setattr(ImageSequence, "decode", lambda self, content: pytest.fail("an image was decoded"))
    np.testing.assert_array_equal(features_of(files, store), expected)


# The network ----------------------------------------------------------------------------------------------------------


def test_batches_are_full_but_for_the_last(pixels, expected):
    one, runner = extraction(pixels, batch_size=5)
    np.testing.assert_array_equal(one.run(), expected)
    assert runner.sizes == [5, 5, 2]


def test_hits_do_not_thin_out_the_batches(pixels, store, expected):
    features_of(pixels[::2], store)
    one, runner = extraction(pixels, store, batch_size=3)
    np.testing.assert_array_equal(one.run(), expected)
    assert runner.sizes == [3, 3]


def test_the_extractor_is_not_used_where_all_features_are_stored(pixels, store, expected):
    features_of(pixels, store)
    one, _ = extraction(pixels, store)
    one.extractor = None
    np.testing.assert_array_equal(one.run(), expected)
    assert one.output_shape() == (3,)


def test_rows_of_another_dtype(pixels, store):
    assert features_of(pixels, dtype="float16").dtype == np.float16


# Duplicates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_store", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_copy_of_an_image_on_its_way_is_not_computed(pixels, store, expected, with_store, batch_size):
    order = [2, 2, 0, 2, 5, 0, 11, 2, 2, 5]
    one, runner = extraction(pixels[order], store if with_store else None, batch_size=batch_size)
    np.testing.assert_array_equal(one.run(), expected[order])
    assert sum(runner.sizes) == 4
    if with_store:
        assert store.info()[:3] == (6, 4, 4)


def test_copies_of_stored_images_are_hits(pixels, store, expected):
    features_of(pixels[:3], store)
    order = [0, 4, 0, 4, 2, 1]
    np.testing.assert_array_equal(features_of(pixels[order], store), expected[order])
    assert store.info()[:3] == (5, 4, 4)


def test_copies_among_files_of_unknown_digest(files, store, expected, tmp_path):
    twin = tmp_path / "twin.png"
    shutil.copy(files[3], twin)
    one, runner = extraction([files[3], str(twin), files[3], files[0]], store)
    np.testing.assert_array_equal(one.run(), expected[[3, 3, 3, 0]])
    assert runner.sizes == [2]


# Two at once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_store", [True, False], ids=["one store", "two stores"])
def test_the_second_of_two_waits_and_finds_hits(pixels, store, expected, tmp_path, monkeypatch, caplog, one_store):
    monkeypatch.setattr(_lock, "POLL_SECONDS", 0.05)
    inside, go_on = threading.Event(), threading.Event()

    def pause():
        inside.set()
        assert go_on.wait(30)

    first, first_runner = extraction(pixels, store, runner=Brightness(before=pause))
    second_store = store if one_store else FeatureStore(tmp_path / "cache", DESCRIPTION)
    second, second_runner = extraction(pixels, second_store)
    with caplog.at_level(logging.WARNING, logger="skcnn"):
        one, features = in_thread(first.run)
        assert inside.wait(30)
        other, more_features = in_thread(second.run)
        deadline = time.monotonic() + 30
        while "waiting for process" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "waiting for process" in caplog.text
    assert other.is_alive()
    go_on.set()
    one.join(30)
    other.join(30)
    np.testing.assert_array_equal(features[0], expected)
    np.testing.assert_array_equal(more_features[0], expected)
    assert first_runner.sizes == [4, 4, 4]
    assert second_runner.sizes == []
    assert len(FeatureStore(tmp_path / "cache", DESCRIPTION)) == 12


def test_the_second_computes_only_what_the_first_did_not(pixels, store, expected, tmp_path):
    inside, go_on = threading.Event(), threading.Event()

    def pause():
        inside.set()
        assert go_on.wait(30)

    first, _ = extraction(pixels[:8], store, runner=Brightness(before=pause))
    second, second_runner = extraction(pixels[4:], FeatureStore(tmp_path / "cache", DESCRIPTION))
    one, features = in_thread(first.run)
    assert inside.wait(30)
    other, more_features = in_thread(second.run)
    time.sleep(0.1)
    go_on.set()
    one.join(30)
    other.join(30)
    np.testing.assert_array_equal(features[0], expected[:8])
    np.testing.assert_array_equal(more_features[0], expected[4:])
    assert sum(second_runner.sizes) == 4


@pytest.mark.parametrize("kind", ["files", "pixels"])
def test_hits_do_not_wait_for_a_writer(request, kind, store, expected, tmp_path):
    # The digests of files without a memo are unknown until they are read: only then they turn out to be hits.
    X = request.getfixturevalue(kind)
    features_of(X, store)
    other = FeatureStore(tmp_path / "cache", DESCRIPTION)
    with store.writing():
        thread, features = in_thread(lambda: features_of(X, other))
        thread.join(20)
        assert not thread.is_alive(), "it waits for the lock"
    np.testing.assert_array_equal(features[0], expected)
    assert other.info()[:2] == (12, 0)


def test_unreadable_images_do_not_wait_for_a_writer(store, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    other = FeatureStore(tmp_path / "cache", DESCRIPTION)
    with store.writing():
        thread, features = in_thread(lambda: features_of([str(tmp_path / "bad.jpg")] * 2, other))
        thread.join(20)
        assert not thread.is_alive(), "it waits for the lock"
    assert np.isnan(features[0]).all()


def test_rows_are_computed_again_when_the_store_is_cleared_meanwhile(files, store, expected):
    features_of(files[1:], store)
    # A miss comes first, and with it the writer lock and a new look at the disk; by then the hits behind it have been
    # found and not decoded.
    one, runner = extraction(files, store, batch_size=12)
    found = threading.Semaphore(0)
    find = CachedExtraction._is_stored

    def finding(self, digest):
        stored = find(self, digest)
        found.release()
        return stored

    writing = FeatureStore.writing

    def clearing(self):
        for _ in files:
            assert found.acquire(timeout=30)
        for shard in self.directory.glob("shard-*.h5"):
            shard.unlink()
        return writing(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CachedExtraction, "_is_stored", finding)
        patch.setattr(FeatureStore, "writing", clearing)
        np.testing.assert_array_equal(one.run(), expected)
    assert runner.sizes == [1, 11]
    assert len(store.refresh()) == 1


def test_two_threads_share_one_network_and_one_store(tiny_model, files):
    from skcnn import CNNFeatureExtractor

    extractors = [CNNFeatureExtractor(tiny_model, batch_size=2).fit(files) for _ in range(4)]
    threads = [in_thread(lambda each=each: each.transform(files)) for each in extractors]
    for thread, _ in threads:
        thread.join(60)
    for _, features in threads:
        np.testing.assert_array_equal(features[0], threads[0][1][0])
    assert extractors[0].cache_info() == (36, 12, 12, 12 * 8 * 4)


# The end --------------------------------------------------------------------------------------------------------------


def test_failures_are_listed_by_position(files, store, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    one, runner = extraction([files[0], str(tmp_path / "bad.jpg"), files[1], str(tmp_path / "gone.png")], store)
    features = one.run()
    assert features.failures == one.failures
    features = features[:]
    assert sorted(one.failures) == [1, 3]
    assert "no such file" in one.failures[3]
    assert np.isnan(features).all(axis=1).tolist() == [False, True, False, True]
    assert runner.sizes == [2]


def test_an_error_in_a_thread_ends_the_call_and_keeps_what_was_computed(pixels, store, monkeypatch):
    decode = ImageSequence.decode
    broken = pixels[9]

    def breaking(self, content):
        image = decode(self, content)
        if np.array_equal(image, broken):
            raise MemoryError("no more")
        return image

    monkeypatch.setattr(ImageSequence, "decode", breaking)
    one, runner = extraction(pixels, store)
    with pytest.raises(MemoryError, match="no more"):
        one.run()
    assert runner.sizes == [4, 4]
    assert len(store.refresh()) == 8
    with store.writing():  # the lock was released
        pass


def test_an_error_of_the_network_keeps_the_batches_before(pixels, store):
    def fail():
        if len(runner.sizes) == 2:
            raise RuntimeError("out of memory")

    runner = Brightness(before=fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        features_of(pixels, store, runner=runner)
    assert len(store.refresh()) == 8


def test_no_thread_outlives_the_call(pixels, store):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features_of(pixels, store, runner=Brightness(before=fail), batch_size=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("skcnn")]


def test_the_memo_is_saved_even_after_an_error(files, store, settled, tmp_path, monkeypatch, expected):
    def fail():
        if len(runner.sizes) == 2:
            raise RuntimeError("out of memory")

    runner = Brightness(before=fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        features_of(files, store, runner=runner, memo=DigestMemo(tmp_path / "digests.sqlite"))
    read, indices = ImageSequence.read, []

    def noting(self, index, memo=None):
        indices.append(index)
        return read(self, index, memo)

    monkeypatch.setattr(ImageSequence, "read", noting)
    memo = DigestMemo(tmp_path / "digests.sqlite")
    np.testing.assert_array_equal(features_of(files, store, memo=memo), expected)
    assert sorted(indices) == [8, 9, 10, 11]


def test_known_files_are_hits_without_being_read(files, store, settled, tmp_path, monkeypatch, expected):
    memo = DigestMemo(tmp_path / "digests.sqlite")
    features_of(files, store, memo=memo)
    monkeypatch.setattr(ImageSequence, "read", lambda *args: pytest.fail("a file was read"))
    np.testing.assert_array_equal(features_of(files, store, memo=memo), expected)


# Progress -------------------------------------------------------------------------------------------------------------


def test_progress_says_what_is_done_and_how_far(pixels, capsys):
    features_of(pixels, verbose=1)
    printed = capsys.readouterr()
    last = printed.err.splitlines()[-1]
    assert last.startswith("extracting: 12 of 12 (100 %)")
    assert "image/s" in last
    assert printed.out == ""


def test_progress_counts_only_what_is_not_known(files, store, settled, capsys):
    memo = DigestMemo(None)
    features_of(files[:5], store, memo=memo)
    features_of(files, store, memo=memo, verbose=1)
    assert "7 of 7" in capsys.readouterr().err
    features_of(files, store, memo=memo, verbose=1)
    assert capsys.readouterr().err == ""


def test_silence(pixels, store, capsys):
    features_of(pixels, store)
    assert capsys.readouterr() == ("", "")


def test_progress_goes_on_over_unreadable_images(files, tmp_path, capsys):
    features_of([*files, str(tmp_path / "gone.png")], verbose=1)
    assert "13 of 13" in capsys.readouterr().err


# Activations that are not finite --------------------------------------------------------------------------------------


class Overflow(Brightness):
    """Gives infinity for images whose first pixel is 255."""

    def run(self, prepared):
        features = super().run(prepared)
        features[np.stack(prepared)[:, 0, 0, 0] == 255] = np.inf
        return features


@pytest.fixture
def some_overflow(pixels):
    pixels[:, 0, 0, 0] = 0
    pixels[[1, 6], 0, 0, 0] = 255
    return pixels


def test_rows_that_are_not_finite_are_named_and_never_stored(some_overflow, store):
    one, _ = extraction(some_overflow, store, runner=Overflow())
    features = one.run()[:]
    assert sorted(one.not_finite) == [1, 6]
    assert one.failures == {}
    assert "brightness gives NaN or infinite activations for it" in one.not_finite[1]
    assert np.isnan(features[[1, 6]]).all()
    assert np.isfinite(np.delete(features, [1, 6], axis=0)).all()
    assert len(store) == 10


def test_copies_of_an_image_without_finite_activations_are_named_as_well(some_overflow, store):
    one, _ = extraction(some_overflow[[0, 1, 1]], store, runner=Overflow())
    features = one.run()[:]
    assert sorted(one.not_finite) == [1, 2]
    assert np.isnan(features[[1, 2]]).all()


def test_a_network_without_one_finite_activation_is_an_error(pixels, store):
    pixels[:, 0, 0, 0] = 255
    with pytest.raises(
        BackboneError, match="brightness gives NaN or infinite activations for all 4 images of the first"
    ):
        features_of(pixels, store, runner=Overflow())
    assert len(store) == 0
