"""The base of classifiers that wrap other classifiers of images: tags, fit parameters and checks."""

from __future__ import annotations

from inspect import signature
from typing import Any

from sklearn import get_config
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import has_fit_parameter

from skcnn.classifiers._image_classifier import ImageClassifier
from skcnn.images._sequence import ImageSequence
from skcnn.images._transformer import check_images


class ClassifierWrapper(ImageClassifier):
    """Base of classifiers that combine the probabilities that other classifiers give.

    A subclass has the parameter `estimator`, which is what is wrapped, or overrides `_wrapped`.
    """

    estimator: Any

    def _wrapped(self) -> dict[str, Any]:
        return {"estimator": self.estimator}

    def get_metadata_routing(self) -> MetadataRouter:
        """Return how `fit` passes on its parameters besides images and labels.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRouter
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add(**self._wrapped(), method_mapping=mapping)

    def _params_of_fit(self, sample_weight: Any, fit_params: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return the keyword arguments for the `fit` of each wrapped estimator, by its name."""
        wrapped = self._wrapped()
        if get_config()["enable_metadata_routing"]:
            weights = {} if sample_weight is None else {"sample_weight": sample_weight}
            routed = process_routing(self, "fit", **fit_params, **weights)
            return {name: routed[name].fit for name in wrapped}
        if sample_weight is None:
            return dict.fromkeys(wrapped, fit_params)
        return {name: {**fit_params, name_of_weights(estimator): sample_weight} for name, estimator in wrapped.items()}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = [get_tags(estimator) for estimator in self._wrapped().values()]
        tags.classifier_tags = inner[0].classifier_tags or tags.classifier_tags
        tags.target_tags = inner[0].target_tags
        tags.non_deterministic = any(each.non_deterministic for each in inner)
        return tags


def check_predicts_proba(estimator: Any, wrapper: str) -> None:
    """Raise TypeError unless an estimator gives probabilities."""
    if isinstance(estimator, type):
        raise TypeError(f"{wrapper} takes an estimator, not a class: write {estimator.__name__}() with parentheses")
    # Stacking with the default final estimator has probabilities, but says so only when it is fitted.
    will_have = getattr(estimator, "final_estimator", estimator) is None
    if not hasattr(estimator, "fit") or not (hasattr(estimator, "predict_proba") or will_have):
        msg = (
            f"{wrapper} averages probabilities, and {describe_estimator(estimator)} has no predict_proba; take a "
            "classifier that has it, such as LogisticRegression, or wrap it in CalibratedClassifierCV"
        )
        raise TypeError(msg)


def name_of_weights(estimator: Any) -> str:
    """Return the keyword by which the `fit` of an estimator takes the weights of images.

    Raises
    ------
    TypeError
        When it takes none.
    """
    if isinstance(estimator, Pipeline):
        name, step = estimator.steps[-1]
        return f"{name}__{name_of_weights(step)}"
    takes_any = any(each.kind is each.VAR_KEYWORD for each in signature(estimator.fit).parameters.values())
    if not takes_any and not has_fit_parameter(estimator, "sample_weight"):
        raise TypeError(f"{describe_estimator(estimator)} takes no sample_weight; leave it out")
    return "sample_weight"


def describe_estimator(estimator: Any) -> str:
    """Return the name of an estimator in messages: its class, or that of the last step of a pipeline."""
    if isinstance(estimator, Pipeline):
        return f"a Pipeline that ends in {describe_estimator(estimator.steps[-1][1])}"
    return type(estimator).__name__ if isinstance(estimator, BaseEstimator) else repr(estimator)


def check_plain_images(X: Any, y: Any, wrapper: str) -> ImageSequence:
    """Return `X` as an `ImageSequence` of images of which no step makes several views."""
    images = check_images(X, y)
    if images.n_views > 1:
        raise ValueError(f"the images have {images.n_views} views already; {wrapper} takes images and makes the views")
    return images
