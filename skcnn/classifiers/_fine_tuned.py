"""`FineTunedCNNClassifier`: a pretrained network whose head and upper layers are trained on the user's images."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from skcnn._validation import Check, check_parameters, one_of
from skcnn.backbones._tail import TunableNetwork
from skcnn.classifiers._keras_arguments import refuse_keras_arguments
from skcnn.classifiers._labels import encode_labels, join_weights
from skcnn.classifiers._session import Session
from skcnn.classifiers._trained import TrainedClassifier, check_one_view
from skcnn.classifiers._training_parameters import TrainingParameters
from skcnn.exceptions import ImageReadError
from skcnn.features import RawPixels, StoredFeatures, Trunk
from skcnn.features._backbone_parameters import BackboneParameters
from skcnn.images._sequence import ImageSequence
from skcnn.training import DenseHead, LinearHead, LinearProbe, Schedule, build_head, fit_probe, make_schedule
from skcnn.training._head import copy_head
from skcnn.training._lending import lend_model, share_model
from skcnn.training._optimizers import check_sets_rate
from skcnn.training._plan import Plan
from skcnn.training._rows import EpochRows, SameRows
from skcnn.training._split import Split
from skcnn.training._state import TrainingState

POOLINGS = ("avg", "max", "flatten")
# What the random numbers of one fit are for; each has a seed of its own.
HEAD_WEIGHTS, HEAD_ORDER, TAIL_ORDER = range(3)


def check_head(name: str, value: Any) -> None:
    """Refuse what is no head."""
    if not isinstance(value, LinearHead | DenseHead) and not (isinstance(value, str) and value == "probe"):
        msg = f"The {name!r} parameter must be 'probe', or a LinearHead or DenseHead of skcnn.training."
        raise ValueError(f"{msg} Got {value!r} instead.")


class FineTunedCNNClassifier(BackboneParameters, TrainingParameters, TrainedClassifier):
    """Classify images with a pretrained network, whose head and upper layers are trained on them.

    The network is cut in a trunk and a tail. What the frozen trunk makes of an image is computed once and then read
    from the cache, in every epoch, fold and setting; only the tail is trained. That happens in two phases: first the
    head alone on the features of the network as it was, then the head together with the layers that are unfrozen.

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
        the first layer is inside a residual or dense block, activations are stored before the block. Batch
        normalisation keeps its statistics; its scale and offset are trained. With 0 and no augmentation there is no
        second phase: `schedule`, `early_stopping` and `average_weights` are for the first one then, of a `DenseHead`.
    epochs : int, default=20
        Of the second phase.
    optimizer : str or keras.optimizers.Optimizer, default="adamw"
        Of the second phase: "sgd" (momentum 0.9, Nesterov), "rmsprop", "adam", "adamw", "nadam", "adagrad", "adadelta",
        or a configured one, of which each fit makes a copy.
    learning_rate : float, default=None
        Of the second phase. None takes that of a configured optimizer, 1e-4 for most names, 1e-3 for "sgd".
    schedule : {"constant", "polynomial", "cosine", "one_cycle"}, dict, Schedule or None, default=None
        What becomes of the learning rate in the second phase: nothing; a straight line to 0; up to it in 5 % of the
        steps, then half a cosine to 0; up in 30 % of them, then down. A dict gives the rates after some numbers of
        epochs: ``{10: 1e-5}``. `skcnn.training` has schedules with settings, such as ``CosineDecay(cycles=3)``.
    label_smoothing : float, default=0.0
        Fraction in [0, 1) of each target that is shared out to all classes, in training by gradient.
    augmentation : skcnn.Augmentation, default=None
        Random changes of the images in the second phase, which then also runs with ``unfreeze=0``. None makes none.
        The first phase and `predict` see the images as they are. Give photographs that were not resized before: there
        is more to cut out.
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
    warm_start : bool, default=False
        Whether `fit` goes on from the fit before, with the weights and the optimizer as they were left: the second
        phase is trained for `epochs` more, with the parameters of training as they are now. The network, the head and
        the classes have to be the same.
    checkpoint_dir : path, default=None
        Where the state of the training is written while it runs (``checkpoint.npz``), and curves to look at
        (``history.png`` and ``history.json``). A fit that was ended goes on from there, and ends where it would have
        ended without; with ``warm_start=True`` also where parameters of training were changed since, on the same images
        and labels. One directory is for one training: searches and folds need None, and each member of an ensemble
        gets a directory of its own inside.
    checkpoint_every : int, default=None
        After how many epochs each the state is written. None writes it after the first and the last epoch, and between
        them after each one, or less often where that would take more than a twentieth of the time.
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
        A record for the probe and for each epoch: phase ("head" or "fine-tune"), epoch, loss, accuracy (both on
        training images), val_loss, val_accuracy (on those held out, if there are any), learning_rate, seconds.
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

    _constraints: ClassVar[dict[str, Check]] = {"pooling": one_of(*POOLINGS), "head": check_head}

    def __init__(
        self,
        backbone="efficientnet_lite0",
        *,
        weights="imagenet",
        layer=None,
        pooling="avg",
        head="probe",
        unfreeze=4,
        epochs=20,
        optimizer="adamw",
        learning_rate=None,
        schedule=None,
        label_smoothing=0.0,
        augmentation=None,
        augmented_views=None,
        validation_fraction=None,
        early_stopping=False,
        average_weights=False,
        warm_start=False,
        checkpoint_dir=None,
        checkpoint_every=None,
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
        self.warm_start = warm_start
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every = checkpoint_every
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
        super().__setstate__(state)

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **of_keras: Any) -> FineTunedCNNClassifier:
        """Train the head, then the head with the layers that are unfrozen, from the weights of the backbone.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.
        y : array-like of shape (n_images,)
            Labels: strings or whole numbers, of at least two classes.
        sample_weight : array-like of shape (n_images,), default=None
            Weight of each image, at least 0.
        **of_keras
            Refused: arguments of `keras.Model.fit`, such as ``validation_data``. The error names the parameter of the
            classifier that does the same.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            For other arguments.
        ValueError
            For parameters out of range, labels that are missing or all the same, an unknown backbone or layer.
        ImageReadError
            Naming every unreadable image, before anything is trained.
        PreprocessingError
            When pixels were centred or scaled before and ``preprocess="auto"``. It is a ValueError.
        FloatingPointError
            When training diverges.
        CheckpointError
            When `checkpoint_dir` has a checkpoint of another training. It is a ValueError.

        Warns
        -----
        UserWarning
            When training is interrupted (Ctrl-C): it ends there, and the classifier is fitted with the weights so far.
            With `checkpoint_dir`, the same fit goes on from its last checkpoint.
        """
        refuse_keras_arguments(of_keras)
        return self._fit(X, y, sample_weight)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, schedule: Schedule | None = None, callbacks: Any = ()
    ) -> FineTunedCNNClassifier:
        """Fit as `fit` does, with another schedule and with Keras callbacks in the second phase."""
        # A step before may have asked for rows of NaN; there is nothing to learn from them.
        images = check_one_view(X, y).with_on_error("raise")
        classes, codes = encode_labels(y, type(self).__name__)
        weights = join_weights(codes, classes, sample_weight, self.class_weight)
        plan = self._check_parameters()
        check_not_views(images, self.augmentation)
        if schedule is not None:
            plan = dataclasses.replace(plan, schedule=schedule)
        network = self._tunable_network()
        tunes = plan.epochs > 0 and (network.has_tail or self.augmentation is not None)
        head_value = self._head_value()
        head_plan = self._head_plan(head_value, plan, is_only=not tunes)
        self._announce(images, network.features, self._trunk(network, images) if tunes else None)
        # All activations before any training: an unreadable image is named at once.
        features = self._extract(images, network.features)
        settings = {"n_features": features.shape[1], "n_classes": len(classes), **head_value.layers()}
        fixed = {"network": network.description, "head": settings, "classes": classes.tolist()}
        with self._session(images, codes, weights, fixed) as session:
            split = self._split(images, codes, weights, classes, session.seed)
            tail_rows = self._tail_rows(network, images, split, session) if tunes else None

            head, tail_weights = build_head(**settings, seed=(session.seed, HEAD_WEIGHTS)), []
            history: list[dict[str, Any]] = []
            state, goes_on = session.of_phase("fine-tune"), True
            if state is not None and tail_rows is None:
                msg = "warm_start=True trains what was fitted before for 'epochs' more, and nothing is left to train"
                raise ValueError(f"{msg}; set 'epochs' above 0, and 'augmentation' where unfreeze=0")
            if state is None:
                history, goes_on = self._fit_head(head, settings, features, split, head_plan, session)
            if tail_rows is not None and goes_on:
                with lend(network if network.has_tail else None, settings) as model:
                    parts = {"history": history, "callbacks": callbacks, "order": TAIL_ORDER}
                    state = self._train("fine-tune", model, head, tail_rows, split, plan, session, **parts)
                    tail_weights = model.tail_weights()
                    history = state.history

        self.classes_ = classes
        self.history_ = history
        self.validation_indices_ = split.held_out
        self.cut_ = network.cut
        self.head_weights_ = head.get_weights()
        self.tail_weights_ = tail_weights
        self._head = settings
        self._fitted_on = network.description
        self._left = (session.seed, fixed, state) if self.warm_start else None
        return self

    def _predict_logits(self, images: ImageSequence) -> np.ndarray:
        network, tuned = self._fitted_network()
        rows = self._extract(images, self._trunk(network, images) if tuned else network.features)
        head, tail = self.head_weights_, self.tail_weights_
        if not tuned and self._head["units"] is None:
            starts = range(0, len(rows), self.batch_size)
            logits = np.concatenate([LinearProbe(*head).logits(rows[at : at + self.batch_size]) for at in starts])
        else:
            loan = share_model(
                *recipe(network if tuned else None, self._head),
                weights=[*head, *tail],
                set_weights=lambda model: model.set_trained(head, tail),
            )
            with loan as model:
                logits = model.logits(rows, self.batch_size)
        logits[[*rows.failures]] = np.nan
        return logits

    def _build_parts(self) -> list[Any]:
        network, tuned = self._fitted_network()
        head = build_head(**self._head)
        head.set_weights(self.head_weights_)
        if not tuned:
            return [network.features.build(), head]
        tail = network.build_tail()
        tail.set_weights(self.tail_weights_)
        return [tail, head] if network.trunk is None else [network.trunk.build(), tail, head]

    def _fitted_network(self) -> tuple[TunableNetwork, bool]:
        """Return the network this was fitted on, and whether its tail was trained."""
        network = self._tunable_network()
        network.check_same(self._fitted_on)
        return network, bool(self.tail_weights_)

    # The network and its rows -----------------------------------------------------------------------------------------

    def _tunable_network(self) -> TunableNetwork:
        return TunableNetwork(self._frozen_network(), self.unfreeze)

    def _trunk(self, network: TunableNetwork, images: ImageSequence) -> Trunk:
        """Return what stays frozen while the tail is trained; where nothing does, the pixels."""
        if network.trunk is not None:
            return network.trunk
        features = network.features
        return RawPixels(features.input_shape, normalises=features.normalises, dtype=pixel_dtype(images))

    def _tail_rows(
        self, network: TunableNetwork, images: ImageSequence, split: Split, session: Session
    ) -> tuple[EpochRows, EpochRows]:
        """Return what the second phase is trained on, and what it is judged by."""
        trunk = self._trunk(network, images)
        if self.augmentation is None:
            rows = self._extract(images, trunk)
            return SameRows(rows, split.trained), SameRows(rows, split.held_out)
        views = self._augmented_rows(images[split.trained], trunk, session)
        return views, SameRows(self._extract(images[split.held_out], trunk) if len(split.held_out) else split.held_out)

    # Training ---------------------------------------------------------------------------------------------------------

    def _head_value(self) -> LinearHead | DenseHead:
        return LinearHead() if isinstance(self.head, str) else self.head

    def _fit_head(
        self,
        head: Any,
        settings: dict[str, Any],
        features: StoredFeatures,
        split: Split,
        plan: Plan | None,
        session: Session,
    ) -> tuple[list[dict[str, Any]], bool]:
        """Take a head through the first phase; return the records, and whether the user did not interrupt it."""
        if plan is None:
            return [self._fit_probe(head, features, split)], True
        if not plan.epochs:
            return [], True
        rows = SameRows(features, split.trained), SameRows(features, split.held_out)
        with lend(None, settings) as model:
            state = self._train("head", model, head, rows, split, plan, session, order=HEAD_ORDER)
        return state.history, state.is_finished

    def _fit_probe(self, head: Any, features: StoredFeatures, split: Split) -> dict[str, Any]:
        """Give the head the weights of a linear probe; return the record of it."""
        begin = time.perf_counter()
        values, labels = features[split.trained], split.labels(split.trained)
        probe = fit_probe(values, *labels, C=self._head_value().C)  # type: ignore[union-attr]
        head.set_weights(probe)
        figures = probe.judge(values, *labels)
        if len(split.held_out):
            judged = probe.judge(features[split.held_out], *split.labels(split.held_out))
            figures |= {f"val_{name}": value for name, value in judged.items()}
        seconds = time.perf_counter() - begin
        return {"phase": "head", "epoch": 1, **figures, "learning_rate": np.nan, "seconds": seconds}

    def _train(
        self,
        phase: str,
        model: Any,
        head: Any,
        rows: tuple[EpochRows, EpochRows],
        split: Split,
        plan: Plan,
        session: Session,
        *,
        order: int,
        **settings: Any,
    ) -> TrainingState:
        """Train a model from the weights of a head, which gets what was trained; return the state after it."""
        from skcnn.training._phase import train

        trained, held_out = rows
        batches = split.training(trained, self.batch_size, (session.seed, order))
        settings |= {"validation": split.validation(held_out, self.batch_size), "verbose": self.verbose}
        model.start(head)
        state = train(
            phase, model, batches, plan, state=session.of_phase(phase), on_epoch=session.after_epoch, **settings
        )
        copy_head(model.head, head)
        return state

    def _check_parameters(self) -> Plan:
        """Refuse parameters out of range; return the plan of the second phase."""
        check_parameters(self)
        if getattr(self.head, "batch_norm", False) and self.batch_size == 1:
            msg = "batch_norm=True normalises the images of a batch by each other, and batch_size=1 leaves one"
            raise ValueError(f"{msg}; set 'batch_size' to 2 at least, or batch_norm=False")
        return self._training_plan()

    def _head_plan(self, head: LinearHead | DenseHead, plan: Plan, *, is_only: bool) -> Plan | None:
        """Return the plan of the first phase, None for a probe; if it is the only one, it has the schedule."""
        if isinstance(head, LinearHead):
            return None
        head_plan = head.plan(plan.label_smoothing)
        if not is_only:
            return head_plan
        schedule = make_schedule(self.schedule, head_plan.epochs)
        check_sets_rate(head_plan.optimizer, schedule)
        return dataclasses.replace(
            head_plan, schedule=schedule, early_stopping=plan.early_stopping, average_weights=plan.average_weights
        )


def lend(network: TunableNetwork | None, head: dict[str, Any]) -> AbstractContextManager[Any]:
    """Lend a model of the tail of a network, if there is one, and a head of these settings."""
    return lend_model(*recipe(network, head))


def recipe(network: TunableNetwork | None, head: dict[str, Any]) -> tuple[Hashable, Callable[[], Any]]:
    """Return what tells such a model from others, and what makes one."""
    from skcnn.training._model import TailAndHead

    def make() -> Any:
        return TailAndHead(None if network is None else network.build_tail(), build_head(**head))

    return (None if network is None else network.state(), *head.items()), make


def check_not_views(images: ImageSequence, augmentation: Any) -> None:
    """Refuse to augment what a step made several views of: only one step may."""
    if augmentation is not None and images.n_views > 1:
        msg = f"these are views already, of {images.n_views} that a step makes of each image"
        raise ValueError(f"{msg}; give the images themselves, or augmentation=None")


def pixel_dtype(images: ImageSequence) -> str:
    """Return the dtype that the pixels of images are kept in, by the first that can be read."""
    for index in range(len(images)):
        try:
            return "uint8" if images[index].dtype == np.uint8 else "float32"
        except ImageReadError:
            continue
    return "uint8"
