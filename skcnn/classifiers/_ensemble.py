"""`CNNEnsembleClassifier`: several classifiers of the same images, whose probabilities are averaged."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import MetaEstimatorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skcnn._private import BaseComposition, check_method_params
from skcnn._validation import Check, check_parameters, one_of, real, whole
from skcnn.classifiers._labels import encode_labels, join_weights
from skcnn.classifiers._members import (
    Member,
    check_same_classes,
    fit_members,
    seeded_clone,
    shortened,
    with_own_directories,
)
from skcnn.classifiers._naming import naming
from skcnn.classifiers._network_classifier import NetworkClassifier
from skcnn.classifiers._pretrained import PretrainedCNNClassifier
from skcnn.classifiers._snapshots import check_snapshots, fit_snapshots
from skcnn.classifiers._soup import check_soup, greedy_soup
from skcnn.classifiers._weights import check_weights, fit_weights
from skcnn.classifiers._wrapper import ClassifierWrapper, check_predicts_proba, describe_estimator
from skcnn.images._copies import copy_groups
from skcnn.images._failures import refuse_rows_of_nan
from skcnn.images._sequence import ImageSequence
from skcnn.images._transformer import check_images
from skcnn.metrics import ScoreTable
from skcnn.training._holdout import hold_out

METHODS = ("independent", "snapshot", "soup")
# Members that agree to the last bit on so many images are taken to be the same.
COMPARED_IMAGES = 8
# The share of the probabilities in a majority vote: it decides between classes with equal votes, and no others.
TIE = 1e-9

# What users look for in vain, and where it is.
OF_MEMBERS = {
    "history_": "; each of its members may have one: clf.estimators_[0].history_",
    "export": "; each of its members may have it: clf.estimators_[0].export(path), or clf.soup_.export(path)",
}


class CNNEnsembleClassifier(MetaEstimatorMixin, ClassifierWrapper, BaseComposition):
    """Average the probabilities of several classifiers of images.

    The members are clones of one classifier that begin from different random numbers, or different classifiers that are
    given by name. Members that share a frozen trunk share what is stored of it: five fine-tuned members cost five
    tails, and one pass of the images through the trunk.

    Parameters
    ----------
    estimator : classifier, or list of (str, classifier)
        Any classifier, or pipeline that ends in one, that takes images and has `predict_proba`; or several of them,
        each with a name. Parameters of named ones are set as ``name__parameter``. A classifier that is fitted already
        takes part as ``FrozenEstimator(clf)`` (`sklearn.frozen`).
    n_estimators : int, default=5
        Number of clones; it means nothing for a list.
    method : {"independent", "snapshot", "soup"}, default="independent"
        How the members come about. "independent": each is fitted by itself.

        "snapshot", for one `FineTunedCNNClassifier`: they come from a single training, in which the learning rate falls
        along a cosine to 0 `n_estimators` times. The weights at the end of each cycle become a member. It costs as much
        as one member.

        "soup", for `FineTunedCNNClassifier`, several settings of one network included: each is fitted by itself on part
        of the images. Then their weights are averaged into one network: those of the member that is best on the images
        held out, and of each next one with which the accuracy on them does not fall, nor, where it stays the same, the
        log loss rise. It predicts as fast as one member.
    weights : array-like of shape (n_members,), "validation" or None, default=None
        What each member counts in the average; None for the same. "validation" holds out `validation_fraction` of the
        images, fits the members on the others, and takes the weights that give the lowest log loss on those held out.
    voting : {"soft", "hard"}, default="soft"
        "soft" averages the probabilities of the members. "hard" is a majority vote: the probability of a class is the
        share of the members whose first choice it is, each by its weight. Between equal shares the average decides.
    validation_fraction : float, default=0.2
        Fraction of the images of each class that is held out, where weights are learned and for soups.
    n_jobs : int, default=None
        Members that are fitted at the same time, as in joblib. The first is fitted before the others, so that they find
        the activations of a trunk they share in the cache.
    random_state : int, RandomState or None, default=None
        What the random states of the members, nested ones too, are drawn from, and what is held out. Clones get states
        of their own in any case; named classifiers keep those that are not None.

    Attributes
    ----------
    estimators_ : list of n_members classifiers
        The fitted members.
    weights_ : ndarray of shape (n_members,), float64
        What each member counts; the sum is 1. In a soup, members that were left out have 0.
    soup_ : FineTunedCNNClassifier or None
        The network with the averaged weights, which can be exported; None for other methods.
    validation_scores_ : ndarray of shape (n_members,), float64, or None
        The accuracy of each member on the images that were held out; None where none were.
    classes_ : ndarray of shape (n_classes,)
        The labels, as of the members.

    See Also
    --------
    TenCropClassifier : Averages over crops of each image. The two can be nested, either in the other.
    sklearn.ensemble.BaggingClassifier : For a classifier with nothing random in it: members see different images. It
        takes them as a column, an array of paths of shape (n_images, 1).

    Notes
    -----
    Snapshots: Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", arXiv 1704.00109. Soups: Wortsman et al.,
    "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time",
    arXiv 2203.05482.

    Prediction runs through the members one by one and keeps only the sum, so its memory does not grow with their
    number.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skcnn import CNNEnsembleClassifier, CNNFeatureExtractor
    >>> images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    >>> extractor = CNNFeatureExtractor(weights=None, input_size=32, cache=None)
    >>> weak, strong = (make_pipeline(extractor, LogisticRegression(C=C)) for C in (0.1, 10))
    >>> clf = CNNEnsembleClassifier([("weak", weak), ("strong", strong)], weights=[2, 1])
    >>> clf.fit(images, ["cat", "dog", "cow"] * 2).predict_proba(images).shape
    (6, 3)
    """

    _constraints: ClassVar[dict[str, Check]] = {
        "n_estimators": whole(),
        "method": one_of(*METHODS),
        "voting": one_of("soft", "hard"),
        "validation_fraction": real(below=1, open_left=True),
    }

    def __init__(
        self,
        estimator,
        n_estimators=5,
        *,
        method="independent",
        weights=None,
        voting="soft",
        validation_fraction=0.2,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.method = method
        self.weights = weights
        self.voting = voting
        self.validation_fraction = validation_fraction
        self.n_jobs = n_jobs
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with `deep` those of the classifier, or of all named ones, too.

        Parameters
        ----------
        deep : bool, default=True

        Returns
        -------
        dict of str to any
        """
        return self._get_params("estimator", deep) if self._is_named() else super().get_params(deep)

    def set_params(self, **params: Any) -> CNNEnsembleClassifier:
        """Set parameters: ``estimator__parameter``, or ``name__parameter`` and ``name`` for named classifiers.

        Parameters
        ----------
        **params
            As `get_params` names them.

        Returns
        -------
        self
        """
        self._set_params("estimator", **params)
        return self

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> CNNEnsembleClassifier:
        """Fit the members.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.
        y : array-like of shape (n_images,)
            Labels of at least two classes.
        sample_weight : array-like of shape (n_images,), default=None
            Handed to the `fit` of each member; of a pipeline, to that of its last step. Learned weights count images
            by it too.
        **fit_params
            Handed to the `fit` of each member. With ``enable_metadata_routing=True`` they go where they were requested.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range, no members, members whose classes differ, or too few images to hold out some.
        TypeError
            When a member has no `predict_proba`, or takes no `sample_weight` and was given one.

        Notes
        -----
        What a member raises is raised again, of the same type, with the name of the member before the message.
        """
        images = check_images(X, y)
        self._check_parameters()
        classes, codes = encode_labels(y, type(self).__name__)
        labels = classes[codes]
        params = self._params_of_fit(sample_weight, fit_params)
        random = check_random_state(self.random_state)
        split_seed, *seeds = random.randint(np.iinfo(np.int32).max, size=self._n_members() + 1)
        chosen, held_out, weights = np.arange(len(images)), None, None
        if self._holds_out():
            weights = join_weights(codes, classes, sample_weight, None)
            groups = copy_groups(images, None)
            chosen, held_out = hold_out(
                codes, self.validation_fraction, split_seed, groups=groups, weights=weights, names=classes
            )
        params = {key: check_method_params(images, each, chosen) for key, each in params.items()}
        members = self._make_members(seeds, params)
        if self.method == "snapshot":
            fitted = fit_snapshots(members[0], images[chosen], labels[chosen], len(members))
        else:
            fitted = fit_members(with_own_directories(members), images[chosen], labels[chosen], n_jobs=self.n_jobs)

        self._take(fitted, [each.name for each in members], [each.title for each in members])
        if held_out is None:
            self.weights_ = check_weights(self.weights, len(members))
            if self.method == "independent" and not self._is_named():
                self._warn_of_copies(images[:COMPARED_IMAGES])
        else:
            shares = None if weights is None else weights[held_out]
            self._combine(images[chosen], images[held_out], labels[held_out], shares)
        return self

    def _take(self, fitted: list[Any], names: list[str], titles: list[str]) -> None:
        """Make fitted classifiers the members."""
        self.classes_ = check_same_classes(titles, fitted)
        self.estimators_, self._names, self._titles = fitted, names, titles
        self.soup_: NetworkClassifier | None = None
        self.validation_scores_: np.ndarray | None = None

    @classmethod
    def from_folder(
        cls, folder: str | os.PathLike, *, weights: Any = None, voting: str = "soft", **settings: Any
    ) -> CNNEnsembleClassifier:
        """Return a fitted ensemble of the networks in a folder; nothing is trained.

        Parameters
        ----------
        folder : path
            With ``.keras`` files, in the order of their names, such as `export` of the members of another ensemble
            writes. Each has its classes in a list beside it, unless they are given.
        weights : array-like of shape (n_members,), default=None
            What each member counts.
        voting : {"soft", "hard"}, default="soft"
            Whether probabilities are averaged, or the majority decides.
        **settings
            For each `PretrainedCNNClassifier`, such as ``cache`` and ``classes``.

        Returns
        -------
        CNNEnsembleClassifier

        Raises
        ------
        FileNotFoundError
            When there are no networks in it.
        ValueError
            When their classes differ, or are not known.
        """
        files = sorted(Path(folder).expanduser().glob("*.keras"))
        if not files:
            raise FileNotFoundError(f"there are no .keras files in {os.fspath(folder)!r}")
        members = [(path.stem, PretrainedCNNClassifier(path, **settings)) for path in files]
        ensemble = cls(members, weights=weights, voting=voting)
        ensemble._check_parameters()
        names = [name for name, _ in members]
        ensemble._take([member for _, member in members], names, names)
        ensemble.weights_ = check_weights(weights, len(members))
        return ensemble

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, averaged over the members.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.

        Returns
        -------
        ndarray of shape (n_images, n_classes), float64
            Columns in the order of `classes_`. Rows sum to 1, or are NaN where those of a member are.

        Raises
        ------
        ImageReadError
            Naming every unreadable image.
        """
        check_is_fitted(self, "weights_")
        images = check_images(X)
        if self.soup_ is not None:
            return self.soup_.predict_proba(images)
        total = np.zeros((len(images), len(self.classes_)))
        for index, weight in enumerate(self.weights_):
            if weight:
                total += weight * self._counted(self._member_probabilities(index, images))
        return total

    def _counted(self, probabilities: np.ndarray) -> np.ndarray:
        """Return what the probabilities of one member add to the result."""
        if self.voting == "soft":
            return probabilities
        votes = np.zeros_like(probabilities)
        np.put_along_axis(votes, probabilities.argmax(axis=1)[:, np.newaxis], 1.0, axis=1)
        return votes + TIE * (probabilities - votes)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({"voting": "soft", **state})  # those of earlier versions have none

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{OF_MEMBERS.get(name, '')}")

    def member_scores(self, X: Any, y: Any) -> ScoreTable:
        """Compare the accuracy of each member with that of the ensemble.

        Parameters
        ----------
        X : images
            Anything `skcnn.images.as_image_sequence` takes.
        y : array-like of shape (n_images,)
            The right labels.

        Returns
        -------
        skcnn.metrics.ScoreTable
            A row for each member, then one for the ensemble. Columns: weight, what the member counts; rank-1, the
            accuracy.
        """
        check_is_fitted(self, "weights_")
        images = check_images(X, y)
        labels = column_or_1d(y)
        total = np.zeros((len(images), len(self.classes_)))
        scores = []
        for index, weight in enumerate(self.weights_):
            probabilities = self._member_probabilities(index, images)
            refuse_rows_of_nan(probabilities, images)
            scores.append(self._accuracy(probabilities, labels))
            total += weight * self._counted(probabilities)
        if self.soup_ is not None:
            total = self.soup_.predict_proba(images)
        columns = {"weight": [*self.weights_, 1.0], "rank-1": [*scores, self._accuracy(total, labels)]}
        return ScoreTable([*self._names, "ensemble"], columns)

    def _accuracy(self, probabilities: np.ndarray, labels: np.ndarray, sample_weight: Any = None) -> float:
        predicted = self.classes_[probabilities.argmax(axis=1)]
        return float(np.average(predicted == labels, weights=sample_weight))

    def _member_probabilities(self, index: int, images: ImageSequence) -> np.ndarray:
        with naming(self._titles[index]):
            return np.asarray(self.estimators_[index].predict_proba(images), np.float64)

    def _learns_weights(self) -> bool:
        return isinstance(self.weights, str) and self.weights == "validation"

    def _holds_out(self) -> bool:
        return self._learns_weights() or self.method == "soup"

    def _combine(
        self, trained_on: ImageSequence, images: ImageSequence, labels: np.ndarray, sample_weight: np.ndarray | None
    ) -> None:
        """Learn the weights of the members from images that they were not fitted on."""
        if self.method == "soup":
            self.soup_, kept, scores = greedy_soup(self.estimators_, trained_on, images, labels, sample_weight)
            self.weights_, self.validation_scores_ = kept / kept.sum(), scores
            return
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(f"the members do not know the labels {shortened(unknown)}, and y has them")
        right = np.arange(len(labels)), np.searchsorted(self.classes_, labels)
        likelihoods = np.empty((len(labels), len(self.estimators_)))
        scores = np.empty(len(self.estimators_))
        for index in range(len(self.estimators_)):
            probabilities = self._member_probabilities(index, images)
            refuse_rows_of_nan(probabilities, images)
            scores[index] = self._accuracy(probabilities, labels, sample_weight)
            likelihoods[:, index] = probabilities[right]
        self.weights_, self.validation_scores_ = fit_weights(likelihoods, sample_weight), scores

    def _warn_of_copies(self, images: ImageSequence) -> None:
        """Warn where clones turned out to be the same."""
        if len(self.estimators_) < 2:
            return
        first, second = (self._member_probabilities(index, images) for index in (0, 1))
        if np.array_equal(first, second):
            msg = (
                "the members are all the same: nothing is random in the training of "
                f"{describe_estimator(self.estimators_[0])}, so the ensemble is no better than one of them. Give it a "
                "list of different classifiers, or take scikit-learn's BaggingClassifier, whose members see different "
                "images"
            )
            warnings.warn(msg, UserWarning, stacklevel=3)

    # Members and parameters -------------------------------------------------------------------------------------------

    def _is_named(self) -> bool:
        """Whether the members are given by name."""
        return isinstance(self.estimator, (list, tuple))

    def _wrapped(self) -> dict[str, Any]:
        if not self._is_named():
            return super()._wrapped()
        pairs = [tuple(entry) for entry in self.estimator if isinstance(entry, (list, tuple)) and len(entry) == 2]
        if len(pairs) < len(self.estimator) or not all(isinstance(name, str) for name, _ in pairs):
            msg = "The 'estimator' parameter must be a classifier or a list of (name, classifier) pairs."
            raise TypeError(f"{msg} Got {self.estimator!r} instead.")
        if not pairs:
            raise ValueError("the list of classifiers is empty; an ensemble needs at least one")
        self._validate_names([name for name, _ in pairs])
        return dict(pairs)

    def _n_members(self) -> int:
        return len(self.estimator) if self._is_named() else self.n_estimators

    def _make_members(self, seeds: Sequence[int], params: dict[str, dict[str, Any]]) -> list[Member]:
        """Return clones to fit, each with a seed of its own and the parameters of its `fit`."""
        if self._is_named():
            return [
                Member(name, f"member {name!r}", seeded_clone(estimator, seed, only_unset=True), params[name])
                for (name, estimator), seed in zip(self._wrapped().items(), seeds, strict=True)
            ]
        titles = [f"member {number}" for number in range(1, self.n_estimators + 1)]
        return [
            Member(title, title, seeded_clone(self.estimator, seed), params["estimator"])
            for title, seed in zip(titles, seeds, strict=True)
        ]

    def _check_parameters(self) -> None:
        """Refuse parameters out of range, and classifiers that the method is not for."""
        wrapped = self._wrapped()
        for estimator in wrapped.values():
            check_predicts_proba(estimator, type(self).__name__)
        check_parameters(self)
        check_weights(None if self._learns_weights() else self.weights, self._n_members())
        if self.method == "snapshot":
            if self._is_named():
                raise ValueError("method='snapshot' makes all members in one training; give it one classifier, no list")
            check_snapshots(self.estimator, self.n_estimators)
        elif self.method == "soup":
            if self.weights is not None:
                raise ValueError("method='soup' averages the networks themselves; leave the 'weights' parameter None")
            if self.voting == "hard":
                raise ValueError("method='soup' makes one network, and there is nothing to vote; set voting='soft'")
            check_soup(
                {f"member {name!r}" if self._is_named() else "every member": each for name, each in wrapped.items()}
            )
