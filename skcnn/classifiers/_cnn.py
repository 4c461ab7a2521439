"""`CNNClassifier`: a network that is trained on the user's images from random weights."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np

from skcnn._validation import Check, check_size, one_of, whole
from skcnn.architectures import Architecture
from skcnn.backbones._models import is_keras_model
from skcnn.backbones._untrained import UntrainedNetwork
from skcnn.classifiers._network_classifier import NetworkClassifier
from skcnn.features import RawPixels
from skcnn.features._model_parameter import ModelParameter
from skcnn.images._sequence import DECODES
from skcnn.training import make_optimizer
from skcnn.training._build_network import build_network
from skcnn.training._optimizers import rate_from_scratch
from skcnn.training._scratch_network import ScratchNetwork
from skcnn.training._state import Weights


def check_architecture(name: str, value: Any) -> None:
    """Refuse any value that no network is made of."""
    if not isinstance(value, (str, Architecture)) and not callable(value) and not is_keras_model(value):
        msg = f"The {name!r} parameter must be the name of a network, a function that builds one, an Architecture of"
        raise ValueError(f"{msg} skcnn.architectures or a Keras model. Got {value!r} instead.")


class CNNClassifier(ModelParameter, NetworkClassifier):
    """Classify images with a network that is trained on them from random weights.

    Images are decoded and resized once, and kept as uint8 pixels; each epoch reads them from the cache. Batch
    normalisation learns its statistics. For a few hundred images `FineTunedCNNClassifier`, which begins with a network
    that was trained on others, is worth trying first.

    Parameters
    ----------
    architecture : str, callable, Architecture or keras.Model, default="minivggnet"
        A name of ``skcnn.architectures.ARCHITECTURES`` or of `keras.applications`; a function that takes
        ``(input_shape, n_classes)`` and returns a Keras model that ends in a softmax, or in logits; one of these with
        options, such as ``skcnn.architectures.Architecture("resnet", stages=(3, 3, 3))``; or a Keras model, of which
        the layers are taken, with new random weights. A search reaches options as ``architecture__stages``.
    input_size : int or (int, int), default=(64, 64)
        Height and width in pixels the images are resized to.
    channels : {1, 3}, default=3
        3 for RGB, 1 for grey.
    epochs : int, default=100
    optimizer : str or keras.optimizers.Optimizer, default="adamw"
        "sgd" (momentum 0.9, Nesterov), "rmsprop", "adam", "adamw", "nadam", "adagrad", "adadelta", or a configured one,
        of which each fit makes a copy.
    learning_rate : float, default=None
        None takes that of a configured optimizer, 1e-3 for most names, 1e-2 for "sgd" and "adagrad".
    schedule : {"constant", "polynomial", "cosine", "one_cycle", "time_based"}, dict, Schedule or None, default="cosine"
        How the learning rate changes: not at all ("constant", None); in a straight line to 0; up to it in 5 % of the
        steps, then along half a cosine to 0; up in 30 % of them, then down; divided by
        ``1 + rate / epochs * step``. A dict gives the rates after some numbers
        of epochs: ``{60: 1e-4}``. `skcnn.training` has schedules with settings, such as ``CosineDecay(cycles=3)``.
    label_smoothing : float, default=0.0
        Fraction in [0, 1) of each target that is shared out to all classes.
    augmentation : skcnn.Augmentation, default=None
        Random changes of the images while they are trained on. None makes none. `predict` sees the images as they are.
    augmented_views : int, default=None
        How many views of each image are made and stored; the epochs take turns in them. None makes a fresh view of each
        image in each epoch, and stores nothing of it.
    validation_fraction : float, default=None
        Share of the images that are held out, at random and with the classes in the same shares, at least one of each
        class: they are not trained on, and judged after each epoch. Copies of an image stay on the same side. None
        holds out none, or 0.1 where `early_stopping` needs some.
    early_stopping : bool or skcnn.training.EarlyStopping, default=False
        Whether the training ends where it has not become better for some epochs, with the weights of the best one. True
        goes by the loss on the images that are held out, for 5 epochs.
    average_weights : bool, default=False
        Whether the weights are the mean of those after each epoch of the last quarter.
    callbacks : list of keras.callbacks.Callback, default=None
        Called in the course of the training, such as ``[keras.callbacks.TensorBoard("logs")]``. Each fit makes copies,
        so what one collects has to go to a file, or to something that its functions refer to. Their `model` gives
        logits. They are not part of a checkpoint: a fit that goes on from one begins with new copies.
    warm_start : bool, default=False
        Whether `fit` goes on from the fit before, with the weights and the optimizer as they were left, for `epochs`
        more, with the parameters of training as they are now. The network and the classes have to be the same.
    checkpoint_dir : path, default=None
        Where the state of the training is written while it runs (``checkpoint.npz``), and curves to look at
        (``history.png`` and ``history.json``). A fit that was ended goes on from there, and ends where it would have
        ended without; with ``warm_start=True`` also where parameters of training were changed since, on the same images
        and labels. One directory is for one training: searches and folds need None, and each member of an ensemble
        gets a directory of its own inside.
    checkpoint_every : int, default=None
        After how many epochs each the state is written. None writes it after the first and the last epoch, and between
        them after each one, or less often where that would take more than a twentieth of the time.
    keep_checkpoints : "all", int or None, default=None
        Which states stay in `checkpoint_dir` besides the last one: those after every `checkpoint_every` epochs, or the
        last so many of them, in files such as ``checkpoint-train-0010.npz``. Where `checkpoint_every` is None, of
        each epoch. `checkpoint_scores` makes a table of them, `load_checkpoint` goes back to one. States that come
        after the one that a fit goes on from are moved to a folder ``superseded``.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class.
    preprocess : {"auto", None}, default="auto"
        "auto" takes pixels in [0, 255] and refuses others. They are normalised inside the network: by the layers that
        it begins with, such as `keras.layers.Rescaling`; for a network of `keras.applications` as for its published
        weights; else to [0, 1]. None feeds the network what comes in, such as images whose mean was subtracted.
    decode : {"fast", "exact"}, default="fast"
        "fast" lets libjpeg shrink large JPEGs by 2, 4 or 8 while decoding, never below 1.5 times the size that is
        needed; "exact" decodes all pixels.
    cache : True, path or None, default=True
        Where pixels are kept: in the user's cache directory (`SKCNN_CACHE_DIR` names another), in a directory of your
        own, or nowhere.
    batch_size : int, default=32
        Images in one training step.
    random_state : int, RandomState or None, default=None
        What initial weights, dropout and the order of the images are drawn from.
    verbose : int, default=None
        Progress of each part of the work, on the error stream: None shows it where that takes more than a few seconds,
        0 never, 1 always. A pickle does not keep the 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    history_ : list of dict
        A record for each epoch: phase ("train"), epoch; loss, accuracy and, of more than five classes, rank5_accuracy
        on training images, while they were trained on; val_loss, val_accuracy and val_rank5_accuracy on images that
        were held out or given as ``validation_data``, if there are any; learning_rate, seconds.
    validation_indices_ : ndarray of int
        The positions of the images that were held out.
    weights_ : list of ndarray
        Of all layers, as `keras.Model.get_weights` orders them.

    See Also
    --------
    FineTunedCNNClassifier : Begins with a network that was trained on other images.
    skcnn.architectures : The networks that have names here.

    Notes
    -----
    Where an epoch has few steps, the statistics of batch normalisation follow the last steps more closely than its
    layers are made for; and when training ends, they are computed over all images that were trained on. This changes no
    weight that is trained.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import CNNClassifier
    >>> images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    >>> clf = CNNClassifier("lenet", input_size=32, epochs=1, cache=None)
    >>> clf.fit(images, ["cat", "dog", "cow"] * 2).predict_proba(images).shape
    (6, 3)
    """

    # Pixels go through no frozen layers that an engine would run.
    engine = "keras"

    _layers: UntrainedNetwork
    _model_parameter = "architecture"
    _network_parameters: ClassVar = ("architecture", "input_size", "channels", "preprocess", "decode")
    _constraints: ClassVar[dict[str, Check]] = {
        "architecture": check_architecture,
        "input_size": check_size,
        "channels": one_of(1, 3),
        "preprocess": one_of("auto", None),
        "decode": one_of(*DECODES),
        "batch_size": whole(),
    }

    def __init__(
        self,
        architecture="minivggnet",
        *,
        input_size=(64, 64),
        channels=3,
        epochs=100,
        optimizer="adamw",
        learning_rate=None,
        schedule="cosine",
        label_smoothing=0.0,
        augmentation=None,
        augmented_views=None,
        validation_fraction=None,
        early_stopping=False,
        average_weights=False,
        callbacks=None,
        warm_start=False,
        checkpoint_dir=None,
        checkpoint_every=None,
        keep_checkpoints=None,
        class_weight=None,
        preprocess="auto",
        decode="fast",
        cache=True,
        batch_size=32,
        random_state=None,
        verbose=None,
    ):
        self.architecture = architecture
        self.input_size = input_size
        self.channels = channels
        self.epochs = epochs
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.augmentation = augmentation
        self.augmented_views = augmented_views
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.average_weights = average_weights
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every = checkpoint_every
        self.keep_checkpoints = keep_checkpoints
        self.class_weight = class_weight
        self.preprocess = preprocess
        self.decode = decode
        self.cache = cache
        self.batch_size = batch_size
        self.random_state = random_state
        self.verbose = verbose

    def _network(self) -> ScratchNetwork:
        shape = (*check_size("input_size", self.input_size), int(self.channels))
        normalises = self.preprocess == "auto"
        layers = functools.cache(functools.partial(build_network, self.architecture, shape, normalises=normalises))
        return ScratchNetwork(RawPixels(shape, normalises=normalises), layers)

    def _fitted_network(self) -> ScratchNetwork:
        """Return the network that was fitted: with its own layers, whatever the architecture would build now."""
        return ScratchNetwork(super()._fitted_network().trunk, lambda n_classes: self._layers)

    def _note_fitted(self, network: ScratchNetwork) -> None:
        super()._note_fitted(network)
        self._layers = network.layers(len(self.classes_))

    def _make_optimizer(self) -> Any:
        rate = self.learning_rate
        if rate is None and isinstance(self.optimizer, str):
            rate = rate_from_scratch(self.optimizer)
        return make_optimizer(self.optimizer, rate)

    @property
    def _weights(self) -> Weights:
        return Weights(self.weights_)

    @_weights.setter
    def _weights(self, weights: Weights) -> None:
        self.weights_: list[np.ndarray] = [*weights.head]
