"""Every layer Keras has, on both engines: OpenVINO gives the activations of Keras, or leaves the network to Keras."""

import warnings

import numpy as np
import pytest

from skcnn.backbones._openvino import OpenVINORunner
from skcnn.backbones._runners import make_runner
from skcnn.exceptions import EngineWarning

pytest.importorskip("openvino")

SIDE = 12
# From an image of (12, 12, 3) to what a layer takes.
SHAPES = {"image": (12, 12, 3), "sequence": (12, 36), "volume": (4, 6, 6, 3), "vector": (432,)}

CALLS_OF_EACH_SHAPE = {
    "image": """
        Activation("gelu") Activation("silu") Activation("mish") Activation("selu") Activation("hard_silu")
        Activation("softplus") Activation("tanh") Activation("sigmoid") Activation("log_softmax") Activation("celu")
        Activation("relu6") Activation("squareplus") Activation("sparsemax") Activation("hard_tanh")
        ActivityRegularization() AdaptiveAveragePooling2D(4) AdaptiveAveragePooling2D(5) AdaptiveMaxPooling2D(5)
        AlphaDropout(0.5) AugMix() AutoContrast() AveragePooling2D(2,padding="same") BatchNormalization()
        BatchNormalization(axis=1) CenterCrop(8,8) CenterCrop(20,16)
        ContrastLimitedAdaptiveHistogramEqualization() Conv2D(4,3,dilation_rate=2) Conv2D(6,3,strides=2,groups=3)
        Conv2DTranspose(4,3,strides=2,padding="same") Cropping2D(2) CutMix() Dense(5) DepthwiseConv2D(3,strides=2)
        Discretization(bin_boundaries=[-1.0,0.0,1.0]) Dropout(0.5) ELU() EinsumDense("bhwc,cd->bhwd",(None,None,4))
        Flatten() GaussianDropout(0.5) GaussianNoise(1.0) GlobalAveragePooling2D() GlobalMaxPooling2D()
        GroupNormalization(3) Identity() Lambda(double,output_shape=(12,12,3)) LayerNormalization()
        LayerNormalization(axis=[1,2,3]) LeakyReLU() Masking() MaxPooling2D(3,strides=2,padding="same") MixUp()
        Normalization(mean=[1.0,2.0,3.0],variance=[1.0,2.0,3.0]) PReLU() Permute((3,1,2)) Pipeline([Rescaling(2.0)])
        RMSNormalization() RandAugment() RandomBrightness(0.5) RandomColorDegeneration(0.5) RandomColorJitter()
        RandomContrast(0.5) RandomCrop(8,8) RandomElasticTransform() RandomErasing() RandomFlip() RandomGaussianBlur()
        RandomGrayscale() RandomHue(0.5) RandomInvert() RandomPerspective() RandomPosterization(4) RandomRotation(0.5)
        RandomSaturation(0.5) RandomSharpness(0.5) RandomShear(0.5) RandomTranslation(0.5,0.5) RandomZoom(0.5) ReLU(6.0)
        Rescaling([1.0,2.0,3.0],offset=[1.0,2.0,3.0]) Reshape((6,24,3)) Reshape((-1,3)) Resizing(8,8) Resizing(20,16)
        Resizing(8,10,crop_to_aspect_ratio=True) Resizing(8,10,interpolation="nearest")
        Resizing(8,10,pad_to_aspect_ratio=True) Resizing(8,8,antialias=True) Resizing(20,20,interpolation="bicubic")
        SeparableConv2D(4,3) Softmax() Softmax(axis=[1,2]) Solarization() SpatialDropout2D(0.5)
        SpectralNormalization(Conv2D(4,3)) TimeDistributed(Dense(4)) TimeDistributed(Conv1D(4,3)) UnitNormalization()
        UpSampling2D(2) UpSampling2D(2,interpolation="bilinear") ZeroPadding2D(((1,2),(3,0)))
    """,
    "sequence": """
        AdaptiveAveragePooling1D(4) AdaptiveMaxPooling1D(5) AveragePooling1D(2) Conv1D(4,3) Conv1D(4,3,padding="causal")
        Conv1DTranspose(4,3) Cropping1D(1) DepthwiseConv1D(3) GlobalAveragePooling1D() GlobalMaxPooling1D()
        MaxPooling1D() SeparableConv1D(4,3) SpatialDropout1D(0.5) UpSampling1D(2) ZeroPadding1D(2)
        LSTM(4) LSTM(4,return_sequences=True) GRU(4) GRU(4,return_sequences=True) SimpleRNN(4)
        Bidirectional(LSTM(4)) Bidirectional(GRU(4,return_sequences=True)) RNN(LSTMCell(4)) RNN(GRUCell(4))
        RNN(SimpleRNNCell(4)) RNN(StackedRNNCells([LSTMCell(4),LSTMCell(3)])) LSTM(4,unroll=True)
    """,
    "volume": """
        AdaptiveAveragePooling3D(2) AdaptiveMaxPooling3D(2) AveragePooling3D(2) Conv3D(4,3) Conv3DTranspose(4,3)
        Cropping3D(1) GlobalAveragePooling3D() GlobalMaxPooling3D() MaxPooling3D() SpatialDropout3D(0.5)
        UpSampling3D(2) ZeroPadding3D(1) ConvLSTM2D(4,3)
    """,
    "vector": "Dense(4) RepeatVector(3) Softmax()",
}
CALLS = [(shape, call) for shape, calls in CALLS_OF_EACH_SHAPE.items() for call in calls.split()]

# Layers of several inputs, made of one image.
GRAPHS = {
    "Add": lambda L, x: L.Add()([x, L.Conv2D(3, 1)(x)]),
    "AdditiveAttention": lambda L, x: L.AdditiveAttention()([L.Reshape((36, 12))(x), L.Reshape((36, 12))(x)]),
    "Attention": lambda L, x: L.Attention()([L.Reshape((36, 12))(x), L.Reshape((36, 12))(x)]),
    "Average": lambda L, x: L.Average()([x, L.ReLU()(x)]),
    "Concatenate": lambda L, x: L.Concatenate()([x, L.ReLU()(x)]),
    "ConvLSTM1D": lambda L, x: L.ConvLSTM1D(4, 3)(x),
    "ConvLSTM3D": lambda L, x: L.ConvLSTM3D(2, 2)(L.Reshape((2, 2, 6, 6, 3))(x)),
    "Dot": lambda L, x: L.Dot(axes=2)([L.Reshape((12, 36))(x), L.Reshape((12, 36))(x)]),
    "Embedding": lambda L, x: L.Embedding(256, 4)(L.Lambda(absolute, output_shape=(12, 12, 3))(x)),
    "GroupedQueryAttention": lambda L, x: L.GroupQueryAttention(4, 4, 2)(*[L.Reshape((36, 12))(x)] * 2),
    "Maximum": lambda L, x: L.Maximum()([x, L.ReLU()(x)]),
    "Minimum": lambda L, x: L.Minimum()([x, L.ReLU()(x)]),
    "MultiHeadAttention": lambda L, x: L.MultiHeadAttention(2, 4)(*[L.Reshape((36, 12))(x)] * 2),
    "Multiply": lambda L, x: L.Multiply()([x, L.ReLU()(x)]),
    "ReversibleEmbedding": lambda L, x: L.ReversibleEmbedding(256, 4)(L.Lambda(absolute, output_shape=(12, 12, 3))(x)),
    "Subtract": lambda L, x: L.Subtract()([x, L.ReLU()(x)]),
}
# Not for images: text, hashes, sound, boxes, parts of other frameworks, and base classes; and Equalization, of which
# Keras 3.15 makes no graph.
OTHERS = """
    CategoryEncoding Equalization FlaxLayer HashedCrossing Hashing InputLayer IntegerLookup JaxLayer Layer MaxNumBoundingBoxes
    MelSpectrogram STFTSpectrogram StringLookup TFSMLayer TextVectorization TorchModuleWrapper Wrapper
"""
# What OpenVINO 2026.4 does not convert, or converts to a network of other values.
KERAS_RUNS = {
    "Discretization(bin_boundaries=[-1.0,0.0,1.0])",
    'EinsumDense("bhwc,cd->bhwd",(None,None,4))',
    "RandomCrop(8,8)",
    "Resizing(8,8,antialias=True)",
    'Resizing(20,20,interpolation="bicubic")',
}


def double(x):
    return 2 * x


def absolute(x):
    import keras

    return keras.ops.cast(keras.ops.clip(keras.ops.abs(x) * 64, 0, 255), "int32")


def layer_of(call):
    import keras

    return eval(call, {**vars(keras.layers), "double": double})


def test_every_layer_of_keras_is_tried():
    import keras

    tried = " ".join(call for _, call in CALLS)
    classes = {name: each for name, each in vars(keras.layers).items() if isinstance(each, type)}
    missing = {
        each.__name__
        for name, each in classes.items()
        if issubclass(each, keras.layers.Layer) and each.__name__ + "(" not in tried
    }
    assert missing - set(OTHERS.split()) - set(GRAPHS) == set()


def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)


def model_of(graph):
    """Return a model of pixels that are brought to about [-2, 2], with random weights."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(inputs, graph(keras.layers, keras.layers.Rescaling(1 / 64, offset=-2)(inputs)))
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0, 0.5, weight.shape))
    return model


def check_engines_agree(model, *, converted=True):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EngineWarning)
        runner = make_runner(model, "openvino")
    told = [str(warning.message) for warning in caught if warning.category is EngineWarning]
    # Other versions of OpenVINO may convert more, never less.
    assert isinstance(runner, OpenVINORunner) or (not converted and len(told) == 1), told
    expected = model(pixels().astype(np.float32), training=False).numpy()
    features = runner.run(pixels())
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def case_of(shape, call):
    """Return a test case, marked as slow where the layer is rare in networks of images."""
    is_rare = shape in ("sequence", "volume") or call.startswith(("Random", "Rand", "Aug", "Mix", "CutMix"))
    return pytest.param(shape, call, id=call, marks=[pytest.mark.slow] if is_rare else [])


@pytest.mark.parametrize(("shape", "call"), [case_of(*each) for each in CALLS])
def test_a_layer_gives_the_activations_of_keras(shape, call):
    model = model_of(lambda L, x: layer_of(call)(L.Reshape(SHAPES[shape])(x)))
    check_engines_agree(model, converted=call not in KERAS_RUNS)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_layer_of_several_inputs_gives_the_activations_of_keras(name):
    check_engines_agree(model_of(GRAPHS[name]))
