"""What classifiers share that train a network: the parameters of the training, and what it is fed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_random_state

from skcnn._plain import plain
from skcnn._progress import say
from skcnn._validation import Check, check_flag, instance_of, none_or, real, whole
from skcnn.cache import FeatureCache
from skcnn.cache._units import format_bytes
from skcnn.classifiers._session import Session, describe_images, describe_parameter, digest_of
from skcnn.features import RawPixels, StoredFeatures, Trunk, extract
from skcnn.features._extract import plan_extraction
from skcnn.images import Augmentation
from skcnn.images._augmentation import check_levels_of
from skcnn.images._copies import copy_groups
from skcnn.images._sequence import ImageSequence
from skcnn.training import EarlyStopping, make_optimizer, make_schedule
from skcnn.training._checkpoints import describe_change
from skcnn.training._holdout import hold_out
from skcnn.training._optimizers import check_sets_rate
from skcnn.training._plan import Plan
from skcnn.training._rows import EpochRows, FreshViews, SameRows, StoredViews
from skcnn.training._split import Split
from skcnn.training._state import TrainingState

# Of the images, where early stopping needs some and no share is given.
DEFAULT_VALIDATION = 0.1

# Parameters that may be values with parameters of their own.
VALUES = {
    "head": "skcnn.training.LinearHead() or DenseHead()",
    "augmentation": "skcnn.Augmentation()",
    "schedule": "a schedule of skcnn.training, such as CosineDecay()",
    "early_stopping": "skcnn.training.EarlyStopping()",
}

# Parameters that do not decide what a training ends with, or are described as the network.
NO_PART_OF_A_RUN = {
    *("backbone", "weights", "cache", "engine", "verbose", "random_state"),
    *("warm_start", "checkpoint_dir", "checkpoint_every"),
}


class TrainingParameters:
    """Mixin, left of `BaseEstimator`, for the parameters that say how a network is trained."""

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
    warm_start: Any
    checkpoint_dir: Any
    checkpoint_every: Any
    random_state: Any
    decode: Any
    cache: Any
    batch_size: Any
    engine: Any
    verbose: Any
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
        "warm_start": check_flag,
        "checkpoint_every": none_or(whole()),
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

        Raises
        ------
        ValueError
            For an unknown name, or a parameter of what has none, such as ``head__dropout`` where `head` is "probe".
        """
        for name in params:
            outer, _, inner = name.partition("__")
            value = params.get(outer, getattr(self, outer, None))
            if inner and outer in VALUES and not hasattr(value, "set_params"):
                msg = f"{name!r} cannot be set: {outer}={value!r} has no parameters"
                raise ValueError(f"{msg}; set {outer!r} to {VALUES[outer]} first")
        return super().set_params(**params)  # type: ignore[misc]

    def _training_plan(self) -> Plan:
        """Return how the network is trained.

        Raises
        ------
        ValueError
            For parameters out of range, or that exclude each other.
        """
        epochs, average_weights = int(self.epochs), bool(self.average_weights)
        early_stopping = self._early_stopping()
        if early_stopping and average_weights:
            msg = "early_stopping goes back to the weights of the best epoch, and average_weights takes the mean of the"
            raise ValueError(f"{msg} last ones; set one of them to False")
        optimizer = make_optimizer(self.optimizer, self.learning_rate)
        schedule = make_schedule(self.schedule, epochs)
        check_sets_rate(optimizer, schedule)
        return Plan(epochs, optimizer, float(self.label_smoothing), schedule, early_stopping, average_weights)

    def _early_stopping(self) -> EarlyStopping | None:
        asked = plain(self.early_stopping)
        if asked is True:
            return EarlyStopping()
        return asked or None

    @contextlib.contextmanager
    def _session(
        self, images: ImageSequence, codes: np.ndarray, weights: np.ndarray | None, fixed: dict[str, Any]
    ) -> Iterator[Session]:
        """Yield the seed of a fit, what it goes on from, and what it leaves on disk.

        Parameters
        ----------
        images : ImageSequence
        codes, weights : ndarray of shape (n_images,)
        fixed : dict
            What no fit can go on with when it is another: network, head and classes, as JSON types.

        Raises
        ------
        ValueError
            When ``warm_start=True`` and the fit before was of another network, head or classes.
        CheckpointError
            When the directory has a checkpoint of another training. It is a ValueError.
        """
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        state = None
        left = getattr(self, "_left", None)
        if self.warm_start and left is not None:
            seed, before, state = left
            changed = [name for name, value in fixed.items() if value != before[name]]
            if changed:
                changes = ", ".join(describe_change(name, before[name], fixed[name]) for name in changed)
                msg = f"warm_start=True goes on from the fit before, and since then {changes}"
                raise ValueError(f"{msg}; set that back, or warm_start=False to begin anew")
            state = None if state is None else state.as_beginning()
        if self.checkpoint_dir is None:
            yield Session(seed, state)
            return
        cache = FeatureCache.open(self.cache)
        run = {
            **fixed,
            **{
                name: describe_parameter(value)
                for name, value in self.get_params(deep=False).items()  # type: ignore[attr-defined]
                if name not in NO_PART_OF_A_RUN
            },
            "images": describe_images(images, None if cache is None else cache.digests),
            "labels and weights": digest_of(codes, weights),
        }
        if self.random_state is not None:
            run["seed"] = seed
        settings = {"warm_start": bool(self.warm_start), "every": plain(self.checkpoint_every), "verbose": self.verbose}
        with Session.open(self.checkpoint_dir, run, seed=seed, state=state, **settings) as session:
            yield session

    def _split(
        self, images: ImageSequence, codes: np.ndarray, weights: np.ndarray | None, classes: np.ndarray, seed: int
    ) -> Split:
        """Return which images are trained on, and which are held out.

        Raises
        ------
        ValueError
            When there are not enough images of each class to hold out some.
        """
        early_stopping, fraction = self._early_stopping(), self.validation_fraction
        if fraction is None and early_stopping is not None and early_stopping.needs_validation:
            fraction = DEFAULT_VALIDATION
        trained, held_out = np.arange(len(codes)), np.zeros(0, int)
        if fraction is not None:
            cache = FeatureCache.open(self.cache)
            groups = copy_groups(images, None if cache is None else cache.digests)
            trained, held_out = hold_out(codes, fraction, seed, groups=groups, weights=weights, names=classes)
        return Split(codes, weights, len(classes), trained, held_out)

    def _extract(self, images: ImageSequence, trunk: Trunk) -> StoredFeatures:
        images = images.with_decode(self.decode)
        settings = {"batch_size": self.batch_size, "engine": self.engine, "verbose": self.verbose}
        return extract(images, trunk, self.cache, **settings)

    def _announce(self, images: ImageSequence, features: Trunk, tail_trunk: Trunk | None) -> None:
        """Say what a fit will cost before it begins, with ``verbose=1``, unless everything is in the cache.

        Parameters
        ----------
        images : ImageSequence
        features : Trunk
            What makes the features that the head begins with.
        tail_trunk : Trunk or None
            What the images, or their augmented views, go through for the second phase, if there is one.
        """
        if not self.verbose:
            return
        images, cache = images.with_decode(self.decode), FeatureCache.open(self.cache)
        planned, fresh = [(images, features)], 0
        if tail_trunk is not None and self.augmentation is None:
            planned.append((images, tail_trunk))
        elif tail_trunk is not None and self.augmented_views is not None:
            views = self.augmentation.views(self.augmented_views, tail_trunk.input_shape[:2])
            planned.append((images.with_step(views), tail_trunk))
        elif tail_trunk is not None and not isinstance(tail_trunk, RawPixels):
            fresh = int(self.epochs) * len(images)
        settings = {"dtype": None, "batch_size": self.batch_size, "engine": self.engine, "verbose": 0}
        passes = size = 0
        for each, trunk in planned:
            more_passes, more_bytes = plan_extraction(each, trunk, cache, **settings).still_to_do()
            passes += 0 if isinstance(trunk, RawPixels) else more_passes
            size += more_bytes
        during = f", and {fresh:,} while it is trained" if fresh else ""
        where = f"; {format_bytes(size)} more in {cache.directory}" if cache is not None and size else ""
        if passes or during or where:
            before = f"at most {passes:,} passes through the frozen layers before training"
            say(f"{len(images):,} images: {before}{during}{where}")

    def _augmented_rows(self, images: ImageSequence, trunk: Trunk, session: Session) -> EpochRows:
        """Return the views of images that the epochs are trained on."""
        check_levels_of(images, self.augmentation)
        first_view, fresh_views = np.random.SeedSequence(session.seed).generate_state(2).tolist()
        if self.augmented_views is None:
            images = images.with_decode(self.decode)
            settings = {"epochs": session.begin + int(self.epochs), "seed": fresh_views, "engine": self.engine}
            return FreshViews(images, trunk, self.augmentation, **settings)
        views = self.augmentation.views(self.augmented_views, trunk.input_shape[:2])
        rows = self._extract(images.with_step(views), trunk)
        return StoredViews(rows, first_view) if self.augmented_views > 1 else SameRows(rows)
