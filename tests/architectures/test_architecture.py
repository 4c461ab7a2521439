import pickle

import pytest
from sklearn.base import clone

from skcnn.architectures import Architecture, minivggnet


def build(input_shape, n_classes, width=4, *, depth=1):
    raise AssertionError("not called here")


def test_parameters_are_the_options_of_the_builder():
    assert Architecture("minivggnet").get_params() == {
        "network": "minivggnet",
        "activation": "relu",
        "batch_norm": "after",
        "l2": 0.0,
    }
    assert Architecture(build, depth=3).get_params() == {"network": build, "width": 4, "depth": 3}
    # Keras is not imported to look.
    assert Architecture("MobileNetV2", alpha=0.5).get_params() == {"network": "MobileNetV2", "alpha": 0.5}


def test_setting_parameters():
    architecture = Architecture("minivggnet", l2=0.1)
    assert architecture.set_params(activation="elu") is architecture
    assert architecture == Architecture("minivggnet", l2=0.1, activation="elu")
    assert architecture != Architecture("minivggnet")
    # Another network has other options.
    assert architecture.set_params(network="resnet", stages=(1, 1, 1)) == Architecture("resnet", stages=(1, 1, 1))


@pytest.mark.parametrize("network", ["minivggnet", minivggnet])
def test_unknown_options_are_an_error_that_names_the_known_ones(network):
    with pytest.raises(
        TypeError, match="minivggnet has no option 'width'; its options are activation, batch_norm, l2$"
    ):
        Architecture(network, width=3)
    with pytest.raises(TypeError, match="minivggnet has no option 'depth'"):
        Architecture(network).set_params(depth=3)
    with pytest.raises(TypeError, match="<lambda> has no option 'width'; its options are none"):
        Architecture(lambda shape, n_classes: None, width=3)


def test_any_option_goes_to_a_builder_that_takes_any():
    assert Architecture(lambda shape, n_classes, **options: None, width=3).options == {"width": 3}


def test_copies_are_equal():
    architecture = Architecture("resnet", stages=(1, 2))
    for copied in (clone(architecture, safe=False), pickle.loads(pickle.dumps(architecture))):
        assert copied == architecture
        assert repr(copied) == "Architecture('resnet', stages=(1, 2))"
    assert repr(Architecture(build, width=4)) == "Architecture(build)"
