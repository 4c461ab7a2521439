import copy
import pickle

import pytest

from skcnn import exceptions


@pytest.mark.parametrize(
    ("name", "familiar"),
    [
        ("ImageReadError", OSError),
        ("BackboneError", ValueError),
        ("CheckpointError", ValueError),
        ("StoreError", ValueError),
        ("StoreWarning", UserWarning),
        ("PreprocessingError", ValueError),
    ],
)
def test_each_is_a_familiar_one(name, familiar):
    assert issubclass(getattr(exceptions, name), familiar)
    assert name in exceptions.__all__


@pytest.mark.parametrize("failures", [None, {}, {3: "there is no such file"}])
def test_image_read_error_travels_between_processes(failures):
    error = exceptions.ImageReadError("1 of 4 images cannot be read", failures)
    for other in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is exceptions.ImageReadError
        assert str(other) == "1 of 4 images cannot be read"
        assert other.failures == (failures or {})


def test_failures_are_a_copy():
    failures = {1: "gone"}
    error = exceptions.ImageReadError("message", failures)
    failures[2] = "gone, too"
    assert error.failures == {1: "gone"}
