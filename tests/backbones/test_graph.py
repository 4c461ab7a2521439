import numpy as np
import pytest

from skcnn.backbones import FrozenNetwork, layers, resolve_backbone, separating_layers
from skcnn.backbones._layers import LayerInfo
from skcnn.exceptions import BackboneError

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
