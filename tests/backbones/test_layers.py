import functools
import re
import threading

import pytest

from skcnn.backbones import layers, resolve_backbone
from skcnn.backbones._graph import output_of
from skcnn.backbones._layers import LayerInfo, LayerTable, find_layer
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


@pytest.mark.slow
def test_densenet121_is_cut_at_concatenations_and_between_stages():
    counts = {2: 6, 3: 12, 4: 24, 5: 16}
    ends = {f"conv{stage}_block{n + 1}_concat" for stage, count in counts.items() for n in range(count)}
    assert {name for name in cuts("DenseNet121") if "_block" in name} == ends
    assert {"pool2_conv", "pool2_pool", "relu"} <= cuts("DenseNet121")


@pytest.mark.slow
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


def test_where_no_head_can_be_told_a_layer_is_asked_for():
    import keras

    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Dense(2, name="scores")(keras.layers.Flatten()(inputs)), name="linear")
    message = r"where the classification head of 'linear' begins.*name the layer .* layer='...'.*lists all"
    with pytest.raises(BackboneError, match=message):
        find_layer(model, resolve_backbone(model), None)
    assert find_layer(model, resolve_backbone(model), "scores") == "scores"


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
