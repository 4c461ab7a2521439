"""`FineTunedCNNClassifier`: a pretrained network whose head and upper layers are trained on the user's images."""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any, ClassVar

from skcnn._validation import Check, one_of
from skcnn.backbones import TrainingCut
from skcnn.backbones._tail import TunableNetwork, as_cut
from skcnn.classifiers._network_classifier import NetworkClassifier
from skcnn.features._backbone_parameters import BackboneParameters
from skcnn.training import DenseHead, LinearHead, Schedule
from skcnn.training._fine_tuned_network import FineTunedNetwork
from skcnn.training._plan import Plan
from skcnn.training._schedules import AUTO
from skcnn.training._state import Weights

POOLINGS = ("avg", "max", "flatten")


def check_head(name: str, value: Any) -> None:
    """Refuse any value that is no head."""
    if not isinstance(value, LinearHead | DenseHead) and not (isinstance(value, str) and value == "probe"):
        msg = f"The {name!r} parameter must be 'probe', or a LinearHead or DenseHead of skcnn.training."
        raise ValueError(f"{msg} Got {value!r} instead.")


def check_shrinkage(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is "auto", None or a number from 0 to 1."""
    is_share = isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= float(value) <= 1
    if not is_share and value is not None and not (isinstance(value, str) and value == AUTO):
        raise ValueError(f"The {name!r} parameter must be 'auto', None or a number from 0 to 1. Got {value!r} instead.")


class FineTunedCNNClassifier(BackboneParameters, NetworkClassifier):
    """Classify images with a pretrained network, whose head and upper layers are trained on them.

    The network is cut in a trunk and a tail. The activations of an image after the frozen trunk are computed once, then
    read from the cache in every epoch, fold and setting; only the tail is trained. That happens in two phases: first
    the head alone on the features of the network as it was, then the head together with the layers that are unfrozen.

    Parameters
    ----------
    backbone : str, path or keras.Model, default="efficientnet_lite0"
        As for `CNNFeatureExtractor`. A Keras model is read, and never changed.
    weights : "imagenet", None or path, default="imagenet"
        For names: the published weights, seeded random values, or a file.
    layer : str or int, default=None
        The layer that the head is put on. None takes the last one before the network's own classification head.
    pooling : {"avg", "max", "flatten"}, default="avg"
        How the positions of the last image become the features of the head.
    head : "probe", LinearHead or DenseHead, default="probe"
        What is put on the features. "probe", the same as ``skcnn.training.LinearHead()``, is one logit for each class,
        and begins as logistic regression on the features. ``skcnn.training.DenseHead()`` has a dense layer, and is
        first trained alone, by gradient. A search reaches their parameters as ``head__C`` or ``head__dropout``.
    unfreeze : int, str or "all", default=4
        What is trained in the second phase besides the head: so many convolution layers, counted from the top, with all
        layers after the first of them; all layers from the one of this name on; or all. 0 trains the head alone. Where
        the first layer is inside a residual or dense block, activations are stored before the block. With 0 and no
        augmentation there is no second phase: `schedule`, `early_stopping` and `average_weights` are for the first one
        then, of a `DenseHead`.
    batch_norm : {"frozen", "live"}, default="frozen"
        Whether batch normalisation of the layers that are unfrozen keeps its statistics, so that only its scale and
        offset are trained; or normalises by the batch and learns new ones, as `CNNClassifier` does. "live" is for whole
        networks (``unfreeze="all"``) and many images; dropout inside the network then acts too.
    epochs : int, default=20
        Of the second phase.
    optimizer : str or keras.optimizers.Optimizer, default="adamw"
        Of the second phase: "sgd" (momentum 0.9, Nesterov), "rmsprop", "adam", "adamw", "nadam", "adagrad", "adadelta",
        or a configured one, of which each fit makes a copy.
    learning_rate : float, default=None
        Of the second phase. None takes that of a configured optimizer, 1e-4 for most names, 1e-3 for "sgd".
    schedule : {"auto", "constant", "polynomial", "cosine", "one_cycle", "time_based"}, dict, Schedule or None, \
            default="auto"
        How the learning rate changes in the second phase: not at all ("constant", None); in a straight line to 0; up to
        it in 5 % of the steps, then along half a cosine to 0; up in 30 % of them, then down; divided by
        ``1 + rate / epochs * step``. A dict gives the rates
        after some numbers of epochs: ``{10: 1e-5}``. `skcnn.training` has schedules with settings, such as
        ``CosineDecay(cycles=3)``. "auto" is "cosine", and "constant" for an optimizer with a schedule of its own, or
        where a `DenseHead` is trained alone.
    label_smoothing : float, default=0.0
        Fraction in [0, 1) of each target that is shared out to all classes, in training by gradient.
    augmentation : skcnn.Augmentation, default=None
        Random changes of the images in the second phase, which then also runs with ``unfreeze=0``. None makes none.
        The first phase sees the images as they are, unless a ``DenseHead(augmented=True)`` is trained in it; `predict`
        always does. Give photographs that were not resized before: there is more to cut out.
    augmented_views : int, default=None
        How many views of each image are made, taken through the trunk and stored; the epochs take turns in them. This
        is as fast as training without augmentation, and other fits find the views. None makes a fresh view of each
        image in each epoch, and stores nothing of it: the trunk runs all the time.
    validation_fraction : float, default=None
        Share of the images that are held out, at random and with the classes in the same shares, at least one of each
        class: they are not trained on, and judged after each epoch. Copies of an image stay on the same side. None
        holds out none, or 0.1 where `early_stopping` needs some.
    early_stopping : bool or skcnn.training.EarlyStopping, default=False
        Whether the second phase ends where it has not become better for some epochs, with the weights of the best one.
        True goes by the loss on the images that are held out, for 5 epochs.
    average_weights : bool, default=False
        Whether the weights after the second phase are the mean of those after each epoch of its last quarter.
    shrinkage : float, "auto" or None, default="auto"
        How far the weights are moved back after the second phase, towards those before it: 0 or None leaves them as
        they were trained, and 1 is the first phase alone. "auto" guards against harm by training. It keeps
        ``n**2 / (n**2 + 100) * e / (e + 1)`` of the change, with n training images of each class and e of them that
        ridge regression on the features of the first phase gets wrong, leave-one-out; for a `DenseHead` it is the first
        factor alone. The records in `history_` are of the weights before they are moved.
    callbacks : list of keras.callbacks.Callback, default=None
        Called in the course of the second phase, such as ``[keras.callbacks.TensorBoard("logs")]``. Each fit makes
        copies, so what one collects has to go to a file, or to something that its functions refer to. Their `model`
        gives logits. They are not part of a checkpoint: a fit that goes on from one begins with new copies.
    warm_start : bool, default=False
        Whether `fit` goes on from the fit before, with the weights and the optimizer as they were left: the second
        phase is trained for `epochs` more, with the parameters of training as they are now. The network, the head and
        the classes have to be the same, but `unfreeze` may be another: layers keep the weights that they were trained
        to, those that are new begin with the weights of the network, and the optimizer begins anew. Layers that are no
        longer unfrozen stay in the tail, with the weights that they have.
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
        last so many of them, in files such as ``checkpoint-fine-tune-0010.npz``. Where `checkpoint_every` is None, of
        each epoch. `checkpoint_scores` makes a table of them, `load_checkpoint` goes back to one. States that come
        after the one that a fit goes on from are moved to a folder ``superseded``.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class.
    input_size : int or (int, int), default=None
        Height and width in pixels the images are resized to. None takes the size the backbone was trained on.
    preprocess : {"auto", None}, default="auto"
        "auto" applies the backbone's own normalisation to RGB pixels in [0, 255], and refuses pixels that were centred
        or scaled before. None feeds the network what comes in.
    decode : {"fast", "exact"}, default="fast"
        "fast" lets libjpeg shrink large JPEGs by 2, 4 or 8 while decoding, never below 1.5 times the size that is
        needed; "exact" decodes all pixels.
    cache : True, path or None, default=True
        Where activations are kept: in the user's cache directory (`SKCNN_CACHE_DIR` names another), in a directory of
        your own, or nowhere.
    batch_size : int, default=32
        Images in one training step, and in one pass through the trunk.
    engine : {"auto", "keras", "openvino"}, default="auto"
        What runs the trunk, as for `CNNFeatureExtractor`. Keras trains the tail.
    random_state : int, RandomState or None, default=None
        What initial weights, dropout and the order of the images are drawn from.
    verbose : int, default=None
        Progress of each part of the work, on the error stream: None shows it where that takes more than a few seconds,
        0 never. 1 always, and before the work begins what it will cost. A pickle does not keep the 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    history_ : list of dict
        A record for the probe and for each epoch: phase ("head" or "fine-tune"), epoch; loss, accuracy and, of more
        than five classes, rank5_accuracy on training images; val_loss, val_accuracy and val_rank5_accuracy on images
        that were held out or given as ``validation_data``, if there are any; learning_rate, seconds. That of the probe
        also has loo_accuracy where `shrinkage` is "auto": leave-one-out, by ridge regression.
        ``pandas.DataFrame(clf.history_)`` makes a table of it.
    validation_indices_ : ndarray of int
        The positions of the images that were held out.
    cut_ : skcnn.backbones.TrainingCut
        The last layer of the trunk, and the layers that were trained.
    head_weights_, tail_weights_ : list of ndarray
        What was trained, and what of the tail stayed frozen.

    See Also
    --------
    CNNFeatureExtractor : The features alone, for any classifier of scikit-learn.

    Notes
    -----
    The defaults were chosen by ``benchmarks/bench_fine_tuning_defaults.py``. A process keeps the last four networks
    that it trained, for the next fits of the same shape: making one takes longer than many a training.
    `skcnn.training.release_models` lets go of them.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn import FineTunedCNNClassifier
    >>> images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    >>> clf = FineTunedCNNClassifier(weights=None, input_size=32, unfreeze=1, epochs=1, cache=None)
    >>> clf.fit(images, ["cat", "dog", "cow"] * 2).predict_proba(images).shape
    (6, 3)
    """

    _network_parameters: ClassVar = (*BackboneParameters._network_parameters, "unfreeze", "head")
    _constraints: ClassVar[dict[str, Check]] = {
        "pooling": one_of(*POOLINGS),
        "head": check_head,
        "batch_norm": one_of("frozen", "live"),
        "shrinkage": check_shrinkage,
    }

    def __init__(
        self,
        backbone="efficientnet_lite0",
        *,
        weights="imagenet",
        layer=None,
        pooling="avg",
        head="probe",
        unfreeze=4,
        batch_norm="frozen",
        epochs=20,
        optimizer="adamw",
        learning_rate=None,
        schedule="auto",
        label_smoothing=0.0,
        augmentation=None,
        augmented_views=None,
        validation_fraction=None,
        early_stopping=False,
        average_weights=False,
        shrinkage="auto",
        callbacks=None,
        warm_start=False,
        checkpoint_dir=None,
        checkpoint_every=None,
        keep_checkpoints=None,
        class_weight=None,
        input_size=None,
        preprocess="auto",
        decode="fast",
        cache=True,
        batch_size=32,
        engine="auto",
        random_state=None,
        verbose=None,
    ):
        self.backbone = backbone
        self.weights = weights
        self.layer = layer
        self.pooling = pooling
        self.head = head
        self.unfreeze = unfreeze
        self.batch_norm = batch_norm
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
        self.shrinkage = shrinkage
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every = checkpoint_every
        self.keep_checkpoints = keep_checkpoints
        self.class_weight = class_weight
        self.input_size = input_size
        self.preprocess = preprocess
        self.decode = decode
        self.cache = cache
        self.batch_size = batch_size
        self.engine = engine
        self.random_state = random_state
        self.verbose = verbose

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "head" not in state:
            msg = (
                "this FineTunedCNNClassifier was pickled before the parameter 'head' took the place of 'hidden_units',"
            )
            raise ValueError(f"{msg} 'dropout' and others; fit it again with this version, and pickle it anew")
        super().__setstate__({"batch_norm": "frozen", "callbacks": None, "keep_checkpoints": None, **state})

    def _network(self) -> FineTunedNetwork:
        head = LinearHead() if isinstance(self.head, str) else self.head
        network = TunableNetwork(self._frozen_network(), self.unfreeze)
        return FineTunedNetwork(network, head, live_norm=self.batch_norm == "live")

    def _network_to_fit(self) -> FineTunedNetwork:
        network, left = self._network(), getattr(self, "_left", None)
        goes_on = self.warm_start and left is not None and network.is_of(left[1])
        return self._cut_as_before(self._deepest_cut) if goes_on else network

    def _network_like(self, description: dict[str, Any]) -> FineTunedNetwork:
        return self._cut_as_before(as_cut(description.get("trained_before")))

    def _cut_as_before(self, cut: TrainingCut | None) -> FineTunedNetwork:
        """Return the network with what an earlier training had in its tail."""
        network = self._network()
        return dataclasses.replace(network, network=dataclasses.replace(network.network, trained_before=cut))

    def _plan(self, schedule: Schedule | None = None) -> Plan:
        plan = super()._plan(schedule)
        shrinkage = self.shrinkage if self.shrinkage in (None, AUTO) else float(self.shrinkage)
        return dataclasses.replace(plan, shrinkage=shrinkage)

    def _note_fitted(self, network: FineTunedNetwork) -> None:
        super()._note_fitted(network)
        self._fitted_on = network.network.description
        self.cut_ = network.network.cut
        self._deepest_cut = network.network.deepest

    def _fitted_network(self) -> FineTunedNetwork:
        # Pickles of earlier versions have none.
        network = self._as_fitted()._cut_as_before(getattr(self, "_deepest_cut", None))
        network.check_same(self._fitted_on)
        return network

    @property
    def _weights(self) -> Weights:
        return Weights(self.head_weights_, self.tail_weights_)

    @_weights.setter
    def _weights(self, weights: Weights) -> None:
        self.head_weights_, self.tail_weights_ = [*weights.head], [*weights.tail]
