import numpy as np
import pytest

from skcnn.cache._digest_index import DigestIndex


def digests_of(numbers):
    digests = np.zeros((len(numbers), 20), np.uint8)
    digests[:, 19] = numbers  # equal first eight bytes: the worst case for the index
    return digests


def test_index_finds_what_is_there_and_nothing_else():
    stored = np.random.default_rng(0).integers(0, 256, (1000, 20), dtype=np.uint8)
    absent = np.random.default_rng(1).integers(0, 256, (50, 20), dtype=np.uint8)
    index = DigestIndex(stored)
    order = np.random.default_rng(2).permutation(1000)
    np.testing.assert_array_equal(index.find(stored[order]), order)
    assert (index.find(absent) == -1).all()


def test_index_tells_digests_with_equal_prefixes_apart():
    index = DigestIndex(digests_of([5, 3, 9, 7]))
    np.testing.assert_array_equal(index.find(digests_of([9, 5, 4, 7, 3, 200])), [2, 0, -1, 3, 1, -1])


@pytest.mark.parametrize(("stored", "wanted"), [([], [1]), ([1], []), ([], [])])
def test_index_of_nothing(stored, wanted):
    assert (DigestIndex(digests_of(stored)).find(digests_of(wanted)) == -1).all()


def test_index_answers_a_stored_duplicate_with_one_of_its_rows():
    assert DigestIndex(digests_of([1, 2, 2])).find(digests_of([2]))[0] in (1, 2)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (5, 5), (40, 1), (1, 40)])
def test_an_index_that_is_extended_is_the_one_of_all(sizes):
    random = np.random.default_rng(0)
    one, two = (digests_of(random.integers(0, 30, size)) for size in sizes)
    extended, whole = DigestIndex(one).with_more(two), DigestIndex(np.concatenate([one, two]))
    np.testing.assert_array_equal(extended.prefixes, whole.prefixes)
    np.testing.assert_array_equal(extended.order, whole.order)
    np.testing.assert_array_equal(extended.find(digests_of(range(30))), whole.find(digests_of(range(30))))
