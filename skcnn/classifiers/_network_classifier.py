"""`NetworkClassifier`: the base of all classifiers that train a network."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.special import softmax
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skcnn._parameters import FittedParameters
from skcnn._plain import plain
from skcnn._validation import Check, check_flag, check_parameters, instance_of, none_or, real, whole
from skcnn.cache import FeatureCache
from skcnn.cache._digests import DigestMemo
from skcnn.classifiers._checkpoints import check_keep, restore, score_checkpoints
from skcnn.classifiers._export import export_network, join
from skcnn.classifiers._image_classifier import ImageClassifier
from skcnn.classifiers._keras_arguments import refuse_keras_arguments
from skcnn.classifiers._keras_callbacks import check_callbacks, copy_callbacks
from skcnn.classifiers._labels import encode_labels, join_weights
from skcnn.classifiers._validation_data import read_validation_data
from skcnn.classifiers._views import check_not_views, check_one_view
from skcnn.images import Augmentation
from skcnn.images._copies import copy_groups
from skcnn.images._sequence import ImageSequence
from skcnn.inspection import TrainingMonitor
from skcnn.metrics import ScoreTable
from skcnn.training import EarlyStopping, Schedule, make_optimizer, make_schedule
from skcnn.training._checkpoints import describe_change
from skcnn.training._feed import Feed
from skcnn.training._fit_network import fit_network
from skcnn.training._optimizers import check_sets_rate
from skcnn.training._plan import Plan
from skcnn.training._problem import Problem, Targets
from skcnn.training._schedules import AUTO
from skcnn.training._session import Session, describe_images, describe_parameter, digest_of
from skcnn.training._state import PhaseEnd, TrainingState, Weights

# Of the images, where early stopping needs some and no share is given.
DEFAULT_VALIDATION = 0.1

# Parameters that may be values with parameters of their own.
VALUES = {
    "architecture": "skcnn.architectures.Architecture(), with the name of the network",
    "head": "skcnn.training.LinearHead() or DenseHead()",
    "augmentation": "skcnn.Augmentation()",
    "schedule": "a schedule of skcnn.training, such as CosineDecay()",
    "early_stopping": "skcnn.training.EarlyStopping()",
}

# Parameters that do not decide what a training ends with, or are described as the network.
NO_PART_OF_A_RUN = {
    *("backbone", "weights", "architecture", "cache", "engine", "verbose", "random_state"),
    *("callbacks", "warm_start", "checkpoint_dir", "checkpoint_every", "keep_checkpoints"),
}


class NetworkClassifier(FittedParameters, ImageClassifier):
    """Base of classifiers whose network is trained.

    A subclass has the parameters below in its constructor and says, by `_network`, which network they describe. It
    keeps what was trained as arrays and no live network, so that it can be pickled.
    """

    epochs: Any
    optimizer: Any
    learning_rate: Any
    schedule: Any
    label_smoothing: Any
    augmentation: Any
    augmented_views: Any
    validation_fraction: Any
    early_stopping: Any
    average_weights: Any
    callbacks: Any
    warm_start: Any
    checkpoint_dir: Any
    checkpoint_every: Any
    keep_checkpoints: Any
    class_weight: Any
    random_state: Any
    decode: Any
    cache: Any
    batch_size: Any
    engine: Any
    verbose: Any

    history_: list[dict[str, Any]]
    _weights: Weights
    # The seed of the last fit, what it was fixed on, and its state; kept for a warm start alone.
    _left: tuple[int, dict[str, Any], TrainingState | None] | None

    _constraints: ClassVar[dict[str, Check]] = {
        "epochs": whole(least=0),
        "learning_rate": none_or(real(open_left=True)),
        "label_smoothing": real(below=1),
        "augmentation": instance_of(Augmentation, type(None), words="a skcnn.Augmentation or None"),
        "augmented_views": none_or(whole()),
        "validation_fraction": none_or(real(below=1, open_left=True)),
        "early_stopping": instance_of(
            EarlyStopping, bool, np.bool_, type(None), words="True, False or a skcnn.training.EarlyStopping"
        ),
        "average_weights": check_flag,
        "callbacks": check_callbacks,
        "warm_start": check_flag,
        "checkpoint_every": none_or(whole()),
        "keep_checkpoints": none_or(check_keep),
    }

    def set_params(self, **params: Any) -> Any:
        """Set parameters, those of values, such as ``augmentation__rotation``, included.

        Parameters
        ----------
        **params
            As `get_params` names them.

        Returns
        -------
        self
        """
        for name in params:
            outer, _, inner = name.partition("__")
            value = params.get(outer, getattr(self, outer, None))
            if inner and outer in VALUES and not hasattr(value, "set_params"):
                msg = f"{name!r} cannot be set: {outer}={value!r} has no parameters"
                raise ValueError(f"{msg}; set {outer!r} to {VALUES[outer]} first")
        return super().set_params(**params)

    def _network(self) -> Any:
        """Return the network that the parameters describe; see `skcnn.training._fit_network.TrainableNetwork`."""
        raise NotImplementedError

    def _network_like(self, description: dict[str, Any]) -> Any:
        """Return the network that the parameters describe, as it is in a training that is gone on with.

        Parameters
        ----------
        description : dict
            Of the network in that training, as its `describe` returned it.
        """
        return self._network()

    def _network_to_fit(self) -> Any:
        """Return the network that `fit` trains, which with a warm start may have to do with that of the fit before."""
        return self._network()

    # Fitting ----------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None, **of_keras: Any) -> Any:
        """Train the network, phase by phase.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.
        y : array-like of shape (n_images,)
            Labels: strings or whole numbers, of at least two classes.
        sample_weight : array-like of shape (n_images,), default=None
            Weight of each image, at least 0.
        validation_data : (images, labels) or (images, labels, sample_weight), default=None
            Images of your own that are judged after each epoch, with labels that occur in `y`; none of `X` are held out
            then. Images that went through no step yet, such as paths, go through those that `X` went through, so in a
            pipeline ``fit(X, y, clf__validation_data=(X_val, y_val))`` takes them as they are.
        **of_keras
            Refused: arguments of `keras.Model.fit`, such as ``epochs``. The error names the parameter of the classifier
            that does the same.

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
            When the loss becomes NaN or infinite, at once. If an epoch was finished before that, the classifier is
            fitted with the weights after it.
        CheckpointError
            When `checkpoint_dir` has a checkpoint of another training. It is a ValueError.

        Warns
        -----
        UserWarning
            When training is interrupted (Ctrl-C): it ends there, and the classifier is fitted with the weights so far.
            With `checkpoint_dir`, the same fit goes on from its last checkpoint.
        """
        refuse_keras_arguments(of_keras)
        return self._fit(X, y, sample_weight, validation_data=validation_data)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: Any = None,
        schedule: Schedule | None = None,
        snapshots: Any = None,
    ) -> Any:
        """Fit as `fit` does, with another schedule, keeping the weights after some epochs of the last phase."""
        # A step before may have asked for rows of NaN; there is nothing to learn from them.
        images = check_one_view(X, y).with_on_error("raise").with_decode(self.decode)
        classes, codes = encode_labels(y, type(self).__name__)
        weights = join_weights(codes, classes, sample_weight, self.class_weight)
        plan = self._plan(schedule)
        if plan.early_stopping:
            plan.early_stopping.check_classes(len(classes))
        own = None
        if validation_data is not None:
            if self.validation_fraction is not None:
                msg = (
                    f"validation_data names images, and validation_fraction={self.validation_fraction!r} holds some out"
                )
                raise ValueError(f"{msg}; set validation_fraction to None, or leave validation_data out")
            own = read_validation_data(validation_data, images, classes, codes, self.class_weight)
        check_not_views(images, self.augmentation)
        network = self._network_to_fit()
        copies = functools.partial(copy_groups, images, self._digests())
        targets, fraction = Targets(codes, weights, len(classes)), self._validation_fraction(plan)
        problem = Problem(targets, classes, fraction, copies, None if own is None else own.targets)
        fixed = {**network.describe(len(classes)), "classes": classes.tolist()}
        feed = self._feed(
            images,
            augmentation=self.augmentation,
            augmented_views=None if self.augmented_views is None else int(self.augmented_views),
            validation=None if own is None else own.images,
        )
        session = self._session(feed, problem, fixed, network)
        end, split, seed = fit_network(network, plan, problem, feed, session, snapshots=snapshots)
        if end.failure and not end.history:
            raise FloatingPointError(end.failure)

        self.classes_, self.history_, self.validation_indices_ = classes, end.history, split.held_out
        self._weights = end.weights
        self._left = (seed, fixed, end.state) if self.warm_start else None
        self._note_fitted(network)
        if end.failure:
            raise FloatingPointError(f"{end.failure}. The classifier keeps the weights of the epoch before")
        return self

    def _note_fitted(self, network: Any) -> None:
        """Keep what it takes to make the fitted network again."""
        self._keep_parameters()

    def _with_weights(self, weights: Weights, history: list[dict[str, Any]]) -> Any:
        """Return a fitted copy with other weights."""
        other = copy.copy(self)
        other._weights, other.history_, other._left = weights, history, None
        return other

    def _settled(self, images: Any) -> Any:
        """Return a fitted copy whose batch normalisation, where it learns statistics, has those of some images."""
        feed = self._feed(check_one_view(images).with_decode(self.decode))
        weights = self._fitted_network().settle(self._weights, feed, len(self.classes_))
        return self._with_weights(weights, self.history_)

    def _plan(self, schedule: Schedule | None = None) -> Plan:
        """Return how the network is trained, by another schedule if one is given.

        Raises
        ------
        ValueError
            For parameters out of range, or that exclude each other.
        """
        check_parameters(self)
        epochs, average_weights = int(self.epochs), bool(self.average_weights)
        asked = plain(self.early_stopping)
        early_stopping = EarlyStopping() if asked is True else asked or None
        if early_stopping and average_weights:
            msg = "early_stopping goes back to the weights of the best epoch, and average_weights takes the mean of the"
            raise ValueError(f"{msg} last ones; set one of them to False")
        optimizer = self._make_optimizer()
        chosen = make_schedule(self.schedule if schedule is None else schedule, epochs)
        if chosen != AUTO:
            check_sets_rate(optimizer, chosen)
        callbacks = copy_callbacks(self.callbacks, chosen)
        settings: Any = {"early_stopping": early_stopping, "average_weights": average_weights, "callbacks": callbacks}
        return Plan(epochs, optimizer, float(self.label_smoothing), chosen, **settings)

    def _make_optimizer(self) -> Any:
        return make_optimizer(self.optimizer, self.learning_rate)

    def _validation_fraction(self, plan: Plan) -> float | None:
        if self.validation_fraction is None and plan.early_stopping and plan.early_stopping.needs_validation:
            return DEFAULT_VALIDATION
        return self.validation_fraction

    def _digests(self) -> DigestMemo | None:
        cache = FeatureCache.open(self.cache)
        return None if cache is None else cache.digests

    def _feed(self, images: ImageSequence, **of_fit: Any) -> Feed:
        return Feed(images, self.cache, self.batch_size, self.engine, self.verbose, **of_fit)

    @contextlib.contextmanager
    def _session(self, feed: Feed, problem: Problem, fixed: dict[str, Any], network: Any) -> Iterator[Session]:
        """Yield the session of a fit: its seed, the state it goes on from, and its checkpoints.

        Parameters
        ----------
        feed : Feed
        problem : Problem
        fixed : dict
            What no fit can go on with when it is another: network, head and classes, as JSON types.
        network : TrainableNetwork

        Raises
        ------
        ValueError
            When ``warm_start=True`` and the fit before was of another network, head or classes.
        CheckpointError
            When the directory has a checkpoint of another training. It is a ValueError.
        """
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        state = before = None
        left = getattr(self, "_left", None)
        if self.warm_start and left is not None:
            seed, then, state = left
            changed = [name for name, value in fixed.items() if value != then[name]]
            is_cut_elsewhere = changed == ["network"] and network.is_cut_elsewhere(then)
            if changed and not is_cut_elsewhere:
                changes = ", ".join(describe_change(name, then[name], fixed[name]) for name in changed)
                msg = f"warm_start=True goes on from the fit before, and since then {changes}"
                raise ValueError(f"{msg}; set that back, or warm_start=False to begin anew")
            state = None if state is None else state.as_beginning()
            # A linear probe is fitted again: it takes no epochs, and the next phase asks for what it measures.
            if is_cut_elsewhere and state is not None:
                trained = self._fitted_network()
                weights = network.adopt(trained.weights_of(state, len(self.classes_)), trained)
                state, before = None, PhaseEnd(weights, self.history_, state)
        if self.checkpoint_dir is None:
            yield Session(seed, state, before=before)
            return
        run = {
            **fixed,
            **{
                f"parameter {name}" if name in fixed else name: describe_parameter(value)
                for name, value in self.get_params(deep=False).items()
                if name not in NO_PART_OF_A_RUN
            },
            "images": describe_images(feed.images, self._digests()),
            "labels and weights": digest_of(problem.targets.codes, problem.targets.weights),
        }
        if feed.validation is not None and problem.validation is not None:
            targets = problem.validation
            judged = [*describe_images(feed.validation, self._digests()), digest_of(targets.codes, targets.weights)]
            run["validation data"] = judged
        if self.random_state is not None:
            run["seed"] = seed
        monitor = TrainingMonitor(self.checkpoint_dir)
        settings: dict[str, Any] = {"warm_start": bool(self.warm_start), "verbose": self.verbose, "before": before}
        settings |= {"every": plain(self.checkpoint_every), "keep": plain(self.keep_checkpoints)}
        settings["monitor"] = lambda records, is_last: monitor.update(records, is_last=is_last)
        with Session.open(self.checkpoint_dir, run, seed=seed, state=state, **settings) as session:
            yield session

    def load_checkpoint(self, path: str | os.PathLike) -> Any:
        """Make this classifier fitted, with the weights that a training had when it wrote a checkpoint.

        The next `fit` goes on from there with ``warm_start=True``, with the parameters of training as they are then,
        such as a lower `learning_rate`.

        Parameters
        ----------
        path : str or Path
            Of one of the states that `keep_checkpoints` keeps, such as ``run/checkpoint-fine-tune-0010.npz``; or of a
            directory, for the last state in it. Nothing in it can run code.

        Returns
        -------
        self

        Raises
        ------
        FileNotFoundError
            When there is none.
        CheckpointError
            When it is damaged, or its network or head is not the one of this classifier. It is a ValueError.
        """
        return restore(self, path)

    def checkpoint_scores(self, X: Any, y: Any, *, directory: str | os.PathLike | None = None) -> ScoreTable:
        """Return the accuracy of each state that was kept of a training.

        The classifier itself does not change, and need not be fitted.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes, such as images that were not trained on.
        y : array-like of shape (n_images,)
            The right labels.
        directory : path, default=None
            Where the states are. None takes `checkpoint_dir`.

        Returns
        -------
        skcnn.metrics.ScoreTable
            A row for each state: its epoch, with the phase before where there are several. Columns: rank-1, the
            accuracy; of more than five classes rank-5.

        Raises
        ------
        ValueError
            When no state was kept there, or no directory is given.
        CheckpointError
            As `load_checkpoint` does. It is a ValueError.
        """
        return score_checkpoints(self, X, y, self.checkpoint_dir if directory is None else directory)

    # Predicting -------------------------------------------------------------------------------------------------------

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
        BackboneError
            When the backbone is not the one this was fitted on. It is a ValueError.
        """
        check_is_fitted(self, "classes_")
        fitted = self._as_fitted()
        feed = fitted._feed(check_one_view(X).with_decode(fitted.decode))
        return softmax(self._fitted_network().logits(self._weights, feed, len(self.classes_)), axis=1)

    def export(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write the whole trained network, normalisation included, for use without skcnn.

        Beside it the labels are written, in the order of the probabilities: a JSON list named as the export with
        ``.classes.json`` behind, such as ``name.keras.classes.json``.

        Parameters
        ----------
        path : str or Path
            ``name.keras``: a file for `keras.models.load_model`. ``name.xml``, with ``name.bin``: an intermediate
            representation for OpenVINO. ``name``, without a dot: a folder with a SavedModel, for `tf.saved_model.load`
            and TensorFlow Serving. Folders above it are made.
        overwrite : bool, default=False
            Whether an earlier export of that name is replaced.

        Returns
        -------
        Path
            What was written. A ``.keras`` file is a backbone: ``CNNFeatureExtractor(clf.export("name.keras"))``.

        Raises
        ------
        ValueError
            For another suffix.
        FileExistsError
            When something of that name exists and `overwrite` is False, or is a folder but no SavedModel.
        ImportError
            When OpenVINO is needed and not installed.
        BackboneError
            When the backbone is not the one this was fitted on, or OpenVINO cannot run the network. It is a ValueError.

        Notes
        -----
        The network takes pixels as the classifier does, float32 of shape (n_images, height, width, channels): RGB in
        [0, 255], unless ``preprocess=None``. It gives the probabilities of `predict_proba`, float32 of shape (n_images,
        n_classes). Images have to be of the size it takes: resizing, and what other steps of a pipeline do, is not part
        of it. On some processors OpenVINO computes in bfloat16, unless it is told not to:
        ``compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})``.
        """
        check_is_fitted(self, "classes_")
        return export_network(self._build_network, self.classes_, path, overwrite=overwrite)

    def _fitted_network(self) -> Any:
        """Return the network that was fitted, whatever the parameters are now.

        Raises
        ------
        BackboneError
            When it is no longer the one of then.
        """
        return self._as_fitted()._network()

    def _build_network(self) -> Any:
        """Return a new Keras model from pixels to probabilities."""
        return join(self._fitted_network().build(self._weights, len(self.classes_)))
