from pathlib import Path

import keras
import numpy as np
import pytest

from skcnn import Augmentation
from skcnn.images import FlipHorizontal, as_image_sequence
from skcnn.training import CosineDecay
from skcnn.training._session import Session, describe_images, describe_parameter, digest_of


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: 0.5,
        lambda: {"cat": np.float64(2)},
        lambda: CosineDecay(cycles=2),
        lambda: Augmentation(zoom=[0.8, 1.2]),
        lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    ],
    ids=["none", "number", "dict", "schedule", "augmentation", "optimizer"],
)
def test_equal_parameters_have_equal_descriptions(make):
    assert describe_parameter(make()) == describe_parameter(make())


def test_other_parameters_have_others():
    assert describe_parameter(np.int64(3)) == 3
    assert describe_parameter({0: 1.0}) != describe_parameter({0: 2.0})
    assert describe_parameter(keras.optimizers.SGD(0.1)) != describe_parameter(keras.optimizers.SGD(0.2))


def test_images_count_by_their_bytes_order_and_steps(files, tmp_path):
    images = as_image_sequence(files)
    known = describe_images(images, None)
    renamed = [tmp_path / f"{number}.png" for number in range(len(files))]
    for old, new in zip(files, renamed, strict=True):
        new.write_bytes(Path(old).read_bytes())
    assert describe_images(as_image_sequence(renamed), None) == known
    for other in (images[::-1], images[1:], images.with_step(FlipHorizontal())):
        assert describe_images(other, None) != known
    renamed[3].write_bytes(renamed[4].read_bytes())
    assert describe_images(as_image_sequence(renamed), None) != known


def test_digests_of_numbers():
    assert digest_of(np.arange(3), None) == digest_of(np.arange(3), None)
    assert digest_of(np.arange(3), None) != digest_of(np.arange(3), np.ones(3))


def test_what_is_due_after_an_epoch():
    class Kept(list):
        save = list.append

    drawn, saved = Kept(), Kept()
    session = Session(0, None, saved, lambda records, is_last: drawn.append((records, is_last)), every=3)
    for epoch in range(1, 8):
        session.after_epoch([{"epoch": epoch}], epoch == 7, lambda epoch=epoch: epoch)
    assert [is_last for _, is_last in drawn] == [False] * 6 + [True]
    assert saved == [3, 6, 7]
