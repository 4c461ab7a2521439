import numpy as np
import pytest

from skcnn.backbones import cut_for, layers, resolve_backbone, split
from skcnn.backbones._cut import convolution_layers
from skcnn.exceptions import BackboneError


def conv(name, filters=4):
    import keras

    return keras.layers.Conv2D(filters, 3, padding="same", name=name)


# The cut --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "unfreeze", "cut", "first"),
    [
        ("chain", 1, "block2_relu1", "block2_conv2"),
        ("chain", 2, "block1_pool", "block2_conv1"),
        ("chain", np.int64(3), "block1_relu1", "block1_conv2"),
        ("chain", 4, "pixels", "block1_conv1"),
        ("chain", "all", "pixels", "pixels"),
        ("chain", "block1_pool", "block1_relu2", "block1_pool"),
        ("chain", "block2_conv2", "block2_relu1", "block2_conv2"),
        # Inside a block the cut is before the block.
        ("residual", "two_b", "one_add", "two_b"),
        ("residual", "two_a", "one_add", "two_a"),
        ("residual", "one_b", "stem_relu", "one_b"),
        ("residual", 6, "pixels", "stem"),
        ("dense", 1, "join3", "transition"),
        ("dense", 2, "join2", "dense3"),
        ("dense", "dense1", "stem", "dense1"),
    ],
)
def test_the_cut_is_the_last_separating_layer_before_what_is_trained(request, network, unfreeze, cut, first):
    model = request.getfixturevalue(network)
    found = cut_for(model, unfreeze)
    names = [layer.name for layer in model.layers]
    assert (found.layer, found.trained) == (cut, tuple(names[names.index(first) :]))
    assert found.at_input == (cut == "pixels")


def test_nothing_is_trained(residual):
    assert cut_for(residual, 0) == ("out", (), False)


def test_scaling_and_statistics_of_pixels_are_no_reason_to_store_more_than_pixels():
    import keras

    inputs = keras.Input((8, 8, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Normalization(mean=[0.5] * 3, variance=[0.1] * 3)(x)
    model = keras.Model(inputs, conv("first")(x))
    assert cut_for(model, 1) == ("pixels", ("first",), True)


def test_an_operation_that_is_no_layer_has_no_name_to_store_by():
    import keras

    inputs = keras.Input((8, 8, 3), name="pixels")
    x = conv("stem")(inputs)
    x = x + conv("inside")(x)
    model = keras.Model(inputs, keras.ops.relu(conv("last")(x)))
    assert cut_for(model, "last").layer == "stem"
    assert not cut_for(model, 0).layer.startswith("last")


def test_layers_of_an_inner_model_are_counted_and_named(chain):
    import keras

    inputs = keras.Input((16, 16, 3), name="photo")
    model = keras.Model(inputs, conv("after")(chain(inputs)))
    trained = ("chain.block2_conv2", "chain.block2_relu2", "chain.block2_pool", "after")
    assert cut_for(model, 2) == ("chain.block2_relu1", trained, False)
    assert cut_for(model, "block2_conv2") == cut_for(model, 2)


def test_a_layer_made_of_convolutions_counts_as_one():
    import keras

    class Pair(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="pair")
            self.one, self.two = conv("one"), conv("two")

        def call(self, x):
            return self.two(self.one(x))

    model = keras.Sequential([keras.Input((8, 8, 3)), conv("stem"), Pair(), keras.layers.DepthwiseConv2D(3, name="dw")])
    assert convolution_layers(model) == ["stem", "pair", "dw"]


def test_blocks_of_the_default_backbone():
    model = resolve_backbone("efficientnet_lite0", None).build(load_weights=False)
    assert [cut_for(model, unfreeze).layer for unfreeze in ("top_conv", "block7a_expand_conv", "block6c_dwconv")] == [
        "block7a_project_bn",
        "block6d_add",
        "block6b_add",
    ]


@pytest.mark.parametrize(
    ("unfreeze", "message"),
    [
        (5, r"unfreeze=5, but 'chain' has 4 convolution layers; give a smaller number, .*'all'"),
        ("block2_conv9", r"'chain' has no layer 'block2_conv9'; the closest are 'block2_conv"),
        ("block2_pool", r"'chain' has no weights from 'block2_pool' on; name an earlier layer.*unfreeze=0"),
        (-1, "The 'unfreeze' parameter must be a number of convolution layers, the name of a layer, or 'all'. Got -1"),
        (True, "Got True"),
        (1.5, "Got 1.5"),
        (None, "Got None"),
    ],
)
def test_an_unfreeze_that_the_network_does_not_have(chain, unfreeze, message):
    with pytest.raises(ValueError, match=message):
        cut_for(chain, unfreeze)


# The two parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["chain", "residual", "dense"])
def test_trunk_and_tail_make_the_network(request, network):
    model = request.getfixturevalue(network)
    images = np.random.default_rng(1).normal(size=(3, 16, 16, 3)).astype(np.float32)
    whole = model.predict_on_batch(images)
    cuts = [row.name for row in layers(model) if row.cuttable][:-1]
    assert cuts[0] == "pixels"
    for layer in cuts:
        trunk, tail = split(model, layer)
        np.testing.assert_allclose(tail.predict_on_batch(trunk.predict_on_batch(images)), whole, rtol=1e-5, atol=1e-6)


def test_the_tail_has_weights_of_its_own_and_the_trunk_those_of_the_model(residual):
    before = residual.get_weights()
    trunk, tail = split(residual, "one_add")
    assert trunk.get_layer("one_a") is residual.get_layer("one_a")
    tail.set_weights([weight + 1 for weight in tail.get_weights()])
    for weight, unchanged in zip(residual.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, unchanged)


def test_a_model_inside_a_model_is_split_within(chain):
    import keras

    inputs = keras.Input((16, 16, 3), name="photo")
    model = keras.Model(inputs, chain(inputs))
    trunk, tail = split(model, "block1_pool")
    images = np.ones((1, 16, 16, 3), np.float32)
    np.testing.assert_allclose(
        tail.predict_on_batch(trunk.predict_on_batch(images)), chain.predict_on_batch(images), rtol=1e-5
    )


def test_places_where_a_network_cannot_be_split(residual):
    with pytest.raises(BackboneError, match=r"'one_bn' alone does not separate.*'stem_relu' and 'one_add'"):
        split(residual, "one_bn")
    with pytest.raises(BackboneError, match="nothing comes after 'out', the last layer of 'residual'"):
        split(residual, "out")
    with pytest.raises(BackboneError, match="'residual' has no layer 'one_c'; the closest are"):
        split(residual, "one_c")


def test_a_layer_that_cannot_be_copied(residual):
    import keras

    class Scale(keras.layers.Layer):
        def __init__(self, factor):
            super().__init__(name="scale")
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return {"name": "scale"}

    model = keras.Model(residual.inputs, Scale(2.0)(residual.outputs[0]), name="scaled")
    with pytest.raises(BackboneError, match=r"(?s)of 'scaled' after 'one_add' cannot be copied.*a get_config"):
        split(model, "one_add")
