import numpy as np
import pytest

from skcnn._validation import check_choice, check_flag, check_int, check_real, check_size, closest

BACKBONES = ["efficientnet_lite0", "efficientnet_lite1", "VGG16", "VGG19", "ResNet50", "MobileNetV2", "Xception"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vgg", "'VGG19', 'VGG16'"),
        ("VGG-16", "'VGG16', 'VGG19'"),
        ("EfficientNetLite0", "'efficientnet_lite0', 'efficientnet_lite1'"),
        ("resnet", "'ResNet50'"),
        # Nothing like it: the first few, as a hint of what names look like.
        ("qqqq", "'efficientnet_lite0', 'efficientnet_lite1', 'VGG16'"),
        (17, "'efficientnet_lite0', 'efficientnet_lite1', 'VGG16'"),
    ],
)
def test_closest(name, expected):
    found = closest(name, BACKBONES)
    assert set(found.split(", ")) >= set(expected.split(", "))
    assert len(found.split(", ")) <= 3


def test_closest_of_few_options_is_all():
    assert closest("zzz", ["a", "b"]) == "'a', 'b'"
    assert closest("vgg16", BACKBONES, n=1) == "'VGG16'"


@pytest.mark.parametrize("value", ["a", "b", None, True, np.str_("a")])
def test_choice(value):
    check_choice("letter", value, ["a", "b", None, True])


@pytest.mark.parametrize("value", ["c", "", 1, False, np.array(["a"]), ["a"], "A", np.ones(3)], ids=repr)
def test_no_choice(value):
    match = r"^The 'letter' parameter must be one of 'a', 'b', None, True. Got .* instead.$"
    with pytest.raises(ValueError, match=match):
        check_choice("letter", value, ["a", "b", None, True])


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(255)])
def test_positive_int(value):
    check_int("batch_size", value)


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, True, np.bool_(True), np.int64(0), [1]], ids=repr)
def test_no_positive_int(value):
    with pytest.raises(ValueError, match=r"^The 'batch_size' parameter must be an int of at least 1. Got .* instead.$"):
        check_int("batch_size", value)


def test_an_int_from_zero_on():
    check_int("epochs", 0, least=0)
    with pytest.raises(ValueError, match="'epochs' parameter must be an int of at least 0. Got -1 instead"):
        check_int("epochs", -1, least=0)


def test_numbers():
    for value in (0, 0.5, np.float32(0.25), np.int64(0)):
        check_real("dropout", value, below=1)
    check_real("C", 1e9, open_left=True)


@pytest.mark.parametrize("value", [1, 1.5, -0.1, float("nan"), float("inf"), "0.5", None, True, [0.5]], ids=repr)
def test_no_fraction(value):
    message = r"^The 'dropout' parameter must be a number of at least 0 and below 1. Got .* instead.$"
    with pytest.raises(ValueError, match=message):
        check_real("dropout", value, below=1)


@pytest.mark.parametrize("value", [0, 0.0, -1, float("nan"), float("inf")])
def test_no_positive_number(value):
    with pytest.raises(ValueError, match=r"^The 'C' parameter must be a number above 0. Got .* instead.$"):
        check_real("C", value, open_left=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (8, (8, 8)),
        ((8, 9), (8, 9)),
        ([8, 9], (8, 9)),
        (np.array([8, 9]), (8, 9)),
        (np.int32(8), (8, 8)),
        (iter([8, 9]), (8, 9)),
    ],
)
def test_size(value, expected):
    size = check_size("size", value)
    assert size == expected
    assert [type(side) for side in size] == [int, int]


@pytest.mark.parametrize(
    "value", [0, -3, (8,), (8, 9, 3), (8, 0), (8.0, 8), "88", "8", None, True, (True, 8), {}, iter("ab")]
)
def test_no_size(value):
    match = r"^The 'size' parameter must be \(height, width\) in pixels, two ints of at least 1. Got .* instead.$"
    with pytest.raises(ValueError, match=match):
        check_size("size", value)


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_], ids=repr)
def test_a_flag_of_python_or_numpy(value):
    assert check_flag("warm_start", value) is bool(value)


@pytest.mark.parametrize("value", [0, 1, None, "True", np.array([True]), np.int64(1)], ids=repr)
def test_no_flag(value):
    with pytest.raises(ValueError, match=r"^The 'warm_start' parameter must be True or False. Got .* instead.$"):
        check_flag("warm_start", value)


def test_checked_numbers_come_back_as_those_of_python():
    assert type(check_int("epochs", np.int64(3))) is int
    assert type(check_real("dropout", np.float32(0.5))) is float
