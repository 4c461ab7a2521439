"""`PretrainedCNNClassifier`: a network that was trained elsewhere, with its own classes, as a fitted classifier."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.special import softmax

from skcnn._validation import Check, check_parameters, check_size, none_or, one_of, whole
from skcnn.backbones import FrozenNetwork, resolve_backbone
from skcnn.backbones._graph import graph_nodes
from skcnn.backbones._imagenet import imagenet_classes
from skcnn.backbones._network import types_of
from skcnn.backbones._runners import ENGINES
from skcnn.cache import FeatureCache
from skcnn.classifiers._image_classifier import ImageClassifier
from skcnn.classifiers._labels import check_labels, codes_of
from skcnn.classifiers._views import check_one_view
from skcnn.exceptions import BackboneError
from skcnn.features import extract
from skcnn.features._backbone_parameters import known_cuts
from skcnn.features._model_parameter import ModelParameter
from skcnn.images._sequence import DECODES
from skcnn.images._transformer import check_images

# By how much the sum of probabilities in float32, or float16 inside, may differ from 1.
ROUNDING = 1e-2


class PretrainedCNNClassifier(ModelParameter, ImageClassifier):
    """Classify images with a network that was trained elsewhere, by the classes that it was trained on.

    It is fitted as it is made; nothing is trained. So networks of others, and exports of skcnn, are scored by ranks,
    take ten crops (`TenCropClassifier`), and vote in ensembles (`CNNEnsembleClassifier`). What the network says of an
    image is computed once, then read from the cache.

    Parameters
    ----------
    network : str, path or keras.Model, default="efficientnet_lite0"
        A ``.keras`` file, such as `CNNClassifier.export` writes; a name as for `CNNFeatureExtractor`: a packaged
        network, or one of `keras.applications` with its classification head; or a Keras model. Its output is one
        number for each class: probabilities, by softmax or otherwise, logits, or, for two classes, one sigmoid.
    weights : "imagenet", None or path, default="imagenet"
        For names: the published weights, seeded random values, or a file.
    classes : array-like of shape (n_classes,), path or None, default=None
        The labels, in the order of the outputs, or a file with them: a JSON list, or a label on each line. None takes
        the list beside an export of skcnn (``name.keras.classes.json``); of names, the 1,000 classes of ImageNet.
    input_size : int or (int, int), default=None
        Height and width in pixels the images are resized to. None takes the size the network was trained on.
    preprocess : {"auto", None}, default="auto"
        "auto" applies the network's own normalisation to RGB pixels in [0, 255], and refuses pixels that were centred
        or scaled before. None feeds the network what comes in.
    decode : {"fast", "exact"}, default="fast"
        "fast" lets libjpeg shrink large JPEGs by 2, 4 or 8 while decoding, never below 1.5 times the size that is
        needed; "exact" decodes all pixels.
    cache : True, path or None, default=True
        Where outputs are kept: in the user's cache directory (`SKCNN_CACHE_DIR` names another), in a directory of your
        own, or nowhere.
    batch_size : int, default=32
        Images in one pass through the network.
    engine : {"auto", "keras", "openvino"}, default="auto"
        What runs the network, as for `CNNFeatureExtractor`.
    verbose : int, default=None
        Progress: None shows it where that takes more than a few seconds, 0 never, 1 always. A pickle does not keep the
        1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, in the order of the outputs.

    See Also
    --------
    FineTunedCNNClassifier : Trains a network for other classes.
    CNNEnsembleClassifier.from_folder : Votes of all networks in a folder.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import PretrainedCNNClassifier
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    >>> clf = PretrainedCNNClassifier(cache=None)
    >>> clf.predict_proba(images).shape
    (2, 1000)
    >>> clf.classes_[:3].tolist()
    ['tench', 'goldfish', 'great white shark']
    """

    _model_parameter = "network"
    _network_parameters: ClassVar = ("network", "weights", "classes", "input_size", "preprocess", "decode")
    _constraints: ClassVar[dict[str, Check]] = {
        "input_size": none_or(check_size),
        "preprocess": one_of("auto", None),
        "decode": one_of(*DECODES),
        "batch_size": whole(),
        "engine": one_of(*ENGINES),
    }

    def __init__(
        self,
        network="efficientnet_lite0",
        *,
        weights="imagenet",
        classes=None,
        input_size=None,
        preprocess="auto",
        decode="fast",
        cache=True,
        batch_size=32,
        engine="auto",
        verbose=None,
    ):
        self.network = network
        self.weights = weights
        self.classes = classes
        self.input_size = input_size
        self.preprocess = preprocess
        self.decode = decode
        self.cache = cache
        self.batch_size = batch_size
        self.engine = engine
        self.verbose = verbose

    @property
    def classes_(self) -> np.ndarray:  # type: ignore[override]
        """The labels, in the order of the outputs."""
        return read_classes(self.classes) if self.classes is not None else self._own_classes()

    def fit(self, X: Any, y: Any = None) -> PretrainedCNNClassifier:
        """Check that the network knows the labels; nothing is trained.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.
        y : array-like of shape (n_images,), default=None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For labels that are no class of the network, and for parameters out of range.
        """
        check_images(X, y)
        check_parameters(self)
        classes = self.classes_
        if y is not None:
            codes_of(check_labels(y, type(self).__name__), classes, "class of the network")
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ndarray of shape (n_images, n_classes), float64
            Columns in the order of `classes_`. Rows sum to 1. Those of unreadable images are NaN where a step of a
            pipeline before asks for it, such as ``AspectAwareResize(on_error="nan")``.

        Raises
        ------
        ImageReadError
            Naming every unreadable image.
        PreprocessingError
            When pixels are not in the range that the network normalises. It is a ValueError.
        ValueError
            When there are not as many labels as outputs, or none are known.
        BackboneError
            When the output is not one number for each class. It is a ValueError.
        """
        check_parameters(self)
        classes, network = self.classes_, self._frozen_network()
        activation, n_outputs = network.remember(
            lambda: describe_output(network), lambda answer: types_of(answer) == [str, int], asks="output"
        )
        is_binary = activation == "sigmoid" and n_outputs == 1
        if n_outputs < 2 and not is_binary:
            kind = "no vector for each image" if n_outputs == 0 else "one number that is no sigmoid"
            raise BackboneError(f"{network.name!r} gives {kind}; a classifier gives one number for each class")
        if activation == "sigmoid" and not is_binary:
            msg = f"{network.name!r} ends in a sigmoid, which judges each of {n_outputs} classes by itself"
            raise BackboneError(f"{msg}; a classifier chooses between them, by softmax")
        if len(classes) != (2 if is_binary else n_outputs):
            msg = f"{network.name!r} tells {2 if is_binary else n_outputs} classes, and there are {len(classes)} labels"
            raise ValueError(f"{msg}; give 'classes', in the order of its outputs")
        images = check_one_view(X).with_decode(self.decode)
        settings: Any = {"batch_size": self.batch_size, "engine": self.engine, "verbose": self.verbose}
        outputs = np.asarray(extract(images, network, self.cache, **settings), np.float64)
        if is_binary:
            return np.concatenate([1 - outputs, outputs], axis=1)
        return as_probabilities(outputs, is_softmax=activation == "softmax")

    def _frozen_network(self) -> FrozenNetwork:
        """Return the network up to its last layer; nothing is loaded."""
        backbone = resolve_backbone(self.network, self.weights).with_top()
        size = None if self.input_size is None else check_size("input_size", self.input_size)
        cuts = known_cuts(FeatureCache.open(self.cache))
        return FrozenNetwork(backbone, -1, None, size, self.preprocess, known_cuts=cuts)

    def _own_classes(self) -> np.ndarray:
        """Return the classes that belong to the network.

        Raises
        ------
        ValueError
            When none are known.
        """
        if resolve_backbone(self.network, self.weights).tells_imagenet_classes:
            return np.array(imagenet_classes())
        if isinstance(self.network, (str, os.PathLike)):
            beside = Path(f"{os.fspath(self.network)}.classes.json").expanduser()
            if beside.is_file():
                return read_classes(beside)
        raise ValueError("the classes of this network are not known; give 'classes', in the order of its outputs")

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def read_classes(given: Any) -> np.ndarray:
    """Return labels that were given as a list or as a file.

    Raises
    ------
    FileNotFoundError
        When there is no file of that name.
    ValueError
        When they are not labels, or some are the same.
    """
    labels = given
    if isinstance(given, (str, os.PathLike)):
        path = Path(given).expanduser()
        text = path.read_text(encoding="utf-8")
        labels = json.loads(text) if path.suffix == ".json" else text.splitlines()
    classes = np.asarray(labels)
    if classes.ndim != 1 or len(classes) < 2 or classes.dtype.kind not in "OUiub":
        raise ValueError(f"classes must be a list of at least two labels, strings or whole numbers. Got {labels!r}.")
    values, counts = np.unique(classes, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"each class needs a label of its own, and {values[counts > 1].tolist()[0]!r} is given twice")
    return classes


def describe_output(network: FrozenNetwork) -> list[Any]:
    """Build the graph without its weights; return the activation that it ends in, and how many numbers it gives.

    0 stands for an output that is not a vector for each image.
    """
    model = network.truncated(load_weights=False)
    (output,) = model.outputs
    last = next(node.operation for node in graph_nodes(model) if any(each is output for each in node.output_tensors))
    activation = getattr(getattr(last, "activation", None), "__name__", type(last).__name__).lower()
    shape = output.shape
    return [activation, int(shape[1]) if len(shape) == 2 and shape[1] is not None else 0]


def as_probabilities(outputs: np.ndarray, *, is_softmax: bool) -> np.ndarray:
    """Return the probabilities that outputs of shape (n_images, n_classes) stand for; each row sums to 1 exactly.

    Outputs that are the mean of several softmaxes, such as those of exported ten crops, have no last layer that says
    so: they are told by their sums.
    """
    readable = outputs[~np.isnan(outputs).any(axis=1)]
    sums = readable.sum(axis=1, keepdims=True)
    if is_softmax or (len(readable) and (readable >= 0).all() and (abs(sums - 1) < ROUNDING).all()):
        return outputs / outputs.sum(axis=1, keepdims=True)
    return softmax(outputs, axis=1)
