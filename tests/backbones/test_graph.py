import functools
import re
import threading

import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, layers, resolve_backbone, separating_layers
from skcnn.backbones._graph import LayerInfo, LayerTable, find_layer, output_of
from skcnn.exceptions import BackboneError


@functools.cache
def table(name):
    return layers(name)


def cuts(name):
    return {row.name for row in table(name) if row.cuttable}


def row(name, layer):
    return next(row for row in table(name) if row.name == layer)


# Known networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_layers", "n_parameters"),
    [
        ("efficientnet_lite0", 143, 4_694_024),
        ("VGG16", 19, 14_714_688),
        ("ResNet50", 175, 23_587_712),
        ("DenseNet121", 427, 7_037_504),
        ("InceptionV3", 311, 21_802_784),
        ("MobileNetV2", 154, 2_257_984),
        ("MobileNetV3Small", 157, 939_120),
    ],
)
def test_every_layer_is_listed(name, n_layers, n_parameters):
    assert len(table(name)) == n_layers
    assert sum(row.parameters for row in table(name)) == n_parameters
    assert [row.index for row in table(name)] == list(range(n_layers))
    assert len({row.name for row in table(name)}) == n_layers
    # Where everything comes in and where everything goes out separates any network.
    assert table(name)[0].cuttable
    assert table(name)[-1].cuttable


def test_vgg16():
    names = [row.name for row in table("VGG16")]
    blocks = [[f"block{block}_conv{n}" for n in range(1, count + 1)] for block, count in enumerate((2, 2, 3, 3, 3), 1)]
    assert names[1:] == [name for number, block in enumerate(blocks, 1) for name in (*block, f"block{number}_pool")]
    assert row("VGG16", "block1_conv1") == LayerInfo(1, "block1_conv1", (224, 224, 64), 1_792, True)
    assert row("VGG16", "block5_conv3") == LayerInfo(17, "block5_conv3", (14, 14, 512), 2_359_808, True)
    assert row("VGG16", "block5_pool") == LayerInfo(18, "block5_pool", (7, 7, 512), 0, True)
    # A chain can be cut anywhere.
    assert cuts("VGG16") == set(names)


def test_resnet50_is_cut_between_blocks_only():
    blocks = {2: 3, 3: 4, 4: 6, 5: 3}
    ends = {
        f"conv{stage}_block{n + 1}_{end}"
        for stage, count in blocks.items()
        for n in range(count)
        for end in ("add", "out")
    }
    inside = {name for name in cuts("ResNet50") if "_block" in name}
    assert inside == ends
    assert row("ResNet50", "conv2_block1_out").cuttable
    assert not row("ResNet50", "conv2_block1_1_conv").cuttable
    assert not row("ResNet50", "conv2_block1_0_conv").cuttable
    assert row("ResNet50", "conv5_block3_out").output_shape == (7, 7, 2048)


def test_densenet121_is_cut_at_concatenations_and_between_stages():
    counts = {2: 6, 3: 12, 4: 24, 5: 16}
    ends = {f"conv{stage}_block{n + 1}_concat" for stage, count in counts.items() for n in range(count)}
    assert {name for name in cuts("DenseNet121") if "_block" in name} == ends
    assert {"pool2_conv", "pool2_pool", "relu"} <= cuts("DenseNet121")


def test_inceptionv3_is_cut_where_branches_are_joined():
    assert {name for name in cuts("InceptionV3") if name.startswith("mixed")} == {f"mixed{n}" for n in range(11)}
    joined = row("InceptionV3", "mixed0").index
    assert {row.name for row in table("InceptionV3")[joined:] if row.cuttable} == {f"mixed{n}" for n in range(11)}
    assert not row("InceptionV3", "mixed9_0").cuttable


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        (
            "MobileNetV2",
            ["Conv1_relu", "block_1_project_BN", "block_2_add", "block_16_expand", "out_relu"],
            ["block_2_expand", "block_2_depthwise", "block_2_project_BN", "block_15_project"],
        ),
        (
            "efficientnet_lite0",
            [
                "stem_conv",
                "block2a_dwconv",
                "block2b_add",
                "block7a_project_bn",
                "top_activation",
                "avg_pool",
                "logits",
            ],
            ["block2b_expand_conv", "block2b_dwconv", "block6d_project_bn"],
        ),
        # Squeeze-and-excitation is a branch inside a block without a shortcut.
        (
            "MobileNetV3Small",
            ["expanded_conv_squeeze_excite_mul", "expanded_conv_2_add"],
            ["expanded_conv_squeeze_excite_conv", "expanded_conv_2_expand"],
        ),
    ],
)
def test_shortcuts_are_not_cut(name, yes, no):
    assert {layer: row(name, layer).cuttable for layer in (*yes, *no)} == {
        **dict.fromkeys(yes, True),
        **dict.fromkeys(no, False),
    }


@pytest.mark.parametrize("name", ["DenseNet121", "MobileNetV3Small"])
def test_unnamed_layers_have_the_same_names_in_every_build(name):
    import keras

    first = [row.name for row in table(name)]
    assert {"zero_padding2d", "zero_padding2d_1", "re_lu", "rescaling"} & set(first)
    keras.layers.ZeroPadding2D(), keras.layers.ReLU(), keras.layers.Rescaling(1)
    again = []
    thread = threading.Thread(target=lambda: again.extend(row.name for row in layers(name)))
    thread.start()
    thread.join()
    assert again == first


# The table ------------------------------------------------------------------------------------------------------------


def test_the_table_shows_as_a_table():
    shown = repr(
        LayerTable(
            [
                LayerInfo(0, "images", (224, 224, 3), 0, True),
                LayerInfo(10, "conv", (224, 224, 64), 1792, False),
                LayerInfo(11, "logits", (1000,), 1281000, True),
            ]
        )
    )
    assert shown.splitlines() == [
        "index  name    output shape    parameters  cut here",
        "    0  images  (224, 224, 3)            0  yes",
        "   10  conv    (224, 224, 64)       1,792",
        "   11  logits  (1000,)          1,281,000  yes",
    ]


def test_the_table_is_a_list():
    assert isinstance(table("VGG16"), list)
    assert table("VGG16")[-1].name == "block5_pool"
    assert next(row.name for row in table("VGG16") if row.parameters > 2_359_000) == "block4_conv2"
    assert repr(LayerTable()) == "index  name  output shape  parameters  cut here"


def test_the_table_of_a_file(tmp_path):
    import keras

    inputs = keras.Input((8, 8, 3), name="pixels")
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="conv")(inputs))
    model.save(tmp_path / "mine.keras")
    expected = [LayerInfo(0, "pixels", (8, 8, 3), 0, True), LayerInfo(1, "conv", (6, 6, 2), 56, True)]
    assert layers(tmp_path / "mine.keras") == layers(model) == expected


def test_the_table_of_nothing():
    with pytest.raises(BackboneError, match="no backbone 'VGG'; the closest are .*'VGG1"):
        layers("VGG")


# Against a definition -------------------------------------------------------------------------------------------------


def reachable(start, edges, without):
    """Return every tensor that can be reached from `start` when one tensor is taken out."""
    found, waiting = set(), [start]
    while waiting:
        tensor = waiting.pop()
        if tensor != without and tensor not in found:
            found.add(tensor)
            waiting += [target for source, target in edges if source == tensor]
    return found


def random_graph(seed):
    """Return a random model, and the names that should separate it, from its edges alone."""
    import keras

    rng = np.random.default_rng(seed)
    tensors, makers, edges = [keras.Input((2,), name="input")], ["input"], []
    shared = keras.layers.Dense(2, name="shared")
    for number in range(rng.integers(2, 14)):
        # Mostly the newest tensors, so that chains, shortcuts and long branches all occur.
        newest = len(tensors) - 1 - rng.geometric(0.5, size=rng.integers(1, 4)) + 1
        sources = np.maximum(newest, 0).tolist()
        if len(sources) > 1:
            name = f"add{number}"
            tensor = keras.layers.Add(name=name)([tensors[source] for source in sources])
        elif rng.random() < 0.2:
            name, tensor = "shared", shared(tensors[sources[0]])
        else:
            name = f"relu{number}"
            tensor = keras.layers.ReLU(name=name)(tensors[sources[0]])
        edges += [(source, len(tensors)) for source in sources]
        tensors.append(tensor)
        makers.append(name)
    outputs = sorted({len(tensors) - 1, *rng.choice(len(tensors) - 1, size=int(rng.random() < 0.25)).tolist()} - {0})
    model = keras.Model(tensors[0], [tensors[output] for output in outputs])

    backwards = [(target, source) for source, target in edges]
    inside = set().union(*(reachable(output, backwards, None) for output in outputs))
    separating = {tensor for tensor in inside if not reachable(0, edges, tensor) & set(outputs)}
    used = [makers[tensor] for tensor in inside]
    return model, {makers[tensor] for tensor in separating if used.count(makers[tensor]) == 1}


@pytest.mark.parametrize("seeds", [range(40), range(40, 80), range(80, 120)])
def test_random_graphs(seeds):
    sizes = set()
    for seed in seeds:
        model, expected = random_graph(seed)
        assert separating_layers(model) == expected, seed
        sizes.add(len(model.layers) - len(expected))
    # Neither chains alone nor knots alone.
    assert 0 in sizes
    assert max(sizes) > 3


# Other models ---------------------------------------------------------------------------------------------------------


def features_of(model, layer=None, pooling=None):
    """Return the activations of one image of ones at a layer."""
    network = FrozenNetwork(resolve_backbone(model), layer, pooling)
    return network.build()(np.ones((1, *network.input_shape), np.float32)).numpy()


def test_a_sequential_model():
    import keras

    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, name="conv", kernel_initializer="ones"),
            keras.layers.GlobalAveragePooling2D(name="pooled"),
            keras.layers.Dense(2, name="scores"),
        ]
    )
    # The indices are those of model.layers, which leave the input out.
    assert layers(model) == [
        LayerInfo(0, "conv", (6, 6, 4), 112, True),
        LayerInfo(1, "pooled", (4,), 0, True),
        LayerInfo(2, "scores", (2,), 10, True),
    ]
    np.testing.assert_array_equal(features_of(model), np.full((1, 6, 6, 4), 27))
    np.testing.assert_array_equal(features_of(model, 0), features_of(model, "conv"))
    np.testing.assert_array_equal(features_of(model, -2), np.full((1, 4), 27))


def test_a_layer_that_is_used_twice_is_no_place():
    import keras

    inputs = keras.Input((8, 8, 3), name="input")
    shared = keras.layers.Conv2D(3, 1, name="shared", kernel_initializer="ones")
    middle = keras.layers.ReLU(name="middle")(shared(inputs))
    model = keras.Model(inputs, keras.layers.ReLU(name="last")(shared(middle)))
    assert separating_layers(model) == {"input", "middle", "last"}
    with pytest.raises(
        BackboneError, match="layer 'shared' has 2 outputs, or is used that often: it is no single place"
    ):
        features_of(model, "shared")
    np.testing.assert_array_equal(features_of(model, "middle"), np.full((1, 8, 8, 3), 3))
    np.testing.assert_array_equal(features_of(model, "last"), np.full((1, 8, 8, 3), 9))


def test_a_layer_that_was_used_in_another_model_before():
    import keras

    conv = keras.layers.Conv2D(2, 3, name="conv", kernel_initializer="ones")
    conv(keras.Input((32, 32, 3)))
    inputs = keras.Input((8, 8, 3), name="input")
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="pooled")(conv(inputs)))
    assert layers(model)[1] == LayerInfo(1, "conv", (6, 6, 2), 56, True)
    np.testing.assert_array_equal(features_of(model), np.full((1, 6, 6, 2), 27))
    assert separating_layers(model) == {"input", "conv", "pooled"}


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_a_model_among_the_layers(kind):
    import keras

    pixels, deep = keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="deep", kernel_initializer="ones")
    if kind == "functional":
        inner = keras.Model(pixels, deep(pixels), name="inner")
    else:
        inner = keras.Sequential([pixels, deep], name="inner")
    inputs = keras.Input((8, 8, 3), name="input")
    x = inner(keras.layers.Rescaling(2.0, name="scale")(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="pooled")(x))
    assert layers(model) == [
        LayerInfo(0, "input", (8, 8, 3), 0, True),
        LayerInfo(1, "scale", (8, 8, 3), 0, True),
        LayerInfo(2, "inner", (6, 6, 2), 56, True),
        LayerInfo(3, "pooled", (2,), 0, True),
    ]
    np.testing.assert_array_equal(features_of(model), np.full((1, 6, 6, 2), 54))
    with pytest.raises(BackboneError, match="no layer 'deep'; the closest are"):
        features_of(model, "deep")


def test_a_layer_with_two_outputs_is_no_place():
    import keras

    class Halves(keras.layers.Layer):
        def call(self, x):
            return x[..., :1], x[..., 1:]

    inputs = keras.Input((4, 4, 3), name="input")
    left, right = Halves(name="halves")(inputs)
    model = keras.Model(inputs, keras.layers.Concatenate(name="both")([left, right]))
    assert separating_layers(model) == {"input", "both"}
    with pytest.raises(BackboneError, match="layer 'halves' has 2 outputs"):
        features_of(model, "halves")


def test_a_branch_that_leads_nowhere_is_not_in_the_way():
    import keras

    inputs = keras.Input((4, 4, 3), name="input")
    middle = keras.layers.ReLU(name="middle")(inputs)
    keras.layers.ReLU(name="nowhere")(middle)
    model = keras.Model(inputs, keras.layers.ReLU(name="last")(middle))
    assert separating_layers(model) == {"input", "middle", "last"}


# Finding a layer ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain():
    import keras

    inputs = keras.Input((4, 4, 3), name="pixels")
    x = keras.layers.Conv2D(2, 1, name="conv_one")(inputs)
    x = keras.layers.Conv2D(2, 1, name="conv_two")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="scores")(x), name="chain")


@pytest.mark.parametrize(
    ("layer", "name"),
    [("conv_one", "conv_one"), (0, "pixels"), (2, "conv_two"), (-1, "scores"), (-5, "pixels"), (None, "conv_two")],
)
def test_by_name_index_or_default(chain, layer, name):
    assert find_layer(chain, resolve_backbone(chain), layer) == name
    assert output_of(chain, name) is chain.get_layer(name).output


def test_the_backbone_may_know_its_layer(chain):
    backbone = resolve_backbone(chain)
    backbone.__class__ = type("Knowing", (type(backbone),), {"default_layer": "conv_one"})
    assert find_layer(chain, backbone, None) == "conv_one"


def test_without_images_inside_the_last_layer_is_the_default():
    import keras

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(2, name="scores")(keras.layers.Flatten()(inputs)))
    assert find_layer(model, resolve_backbone(model), None) == "scores"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("conv_tow", "'chain' has no layer 'conv_tow'; the closest are 'pixels', 'conv_one', 'conv_two'"),
        ("", "'chain' has no layer ''"),
        (5, "'chain' has 5 layers, 0 to 4; there is no layer 5"),
        (-6, "'chain' has 5 layers, 0 to 4; there is no layer -6"),
    ],
)
def test_no_such_layer(chain, layer, message):
    with pytest.raises(BackboneError, match=f"{re.escape(message)}.*lists all"):
        find_layer(chain, resolve_backbone(chain), layer)
