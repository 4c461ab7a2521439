import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from skcnn import AspectAwareResize, ImageSequence, MeanSubtract
from skcnn.images import as_image_sequence
from skcnn.images._transformer import ImageTransformerMixin, check_images, like_input

TRANSFORMERS = [AspectAwareResize(4), MeanSubtract((1, 2, 3))]


class Flatten(TransformerMixin, BaseEstimator):
    """Turn images into rows of numbers."""

    def fit(self, X, y=None):
        self.n_features_out_ = np.asarray(X)[0].size
        return self

    def transform(self, X):
        return np.asarray(X).reshape(len(X), -1)

    def get_feature_names_out(self, input_features=None):
        assert input_features is None or list(input_features) == ["image"]
        return np.array([f"pixel{i}" for i in range(self.n_features_out_)], dtype=object)


@pytest.mark.parametrize("transformer", TRANSFORMERS)
@pytest.mark.parametrize("transform", ["pandas", "polars", "default", None])
def test_set_output_changes_nothing(transformer, transform, image_paths, photo):
    assert transformer.set_output(transform=transform) is transformer
    assert isinstance(transformer.fit_transform(image_paths), ImageSequence)
    assert isinstance(transformer.fit_transform(photo()[np.newaxis]), np.ndarray)


def test_the_global_output_changes_nothing(image_paths, photo):
    with config_context(transform_output="pandas"):
        for transformer in TRANSFORMERS:
            assert isinstance(transformer.fit_transform(image_paths), ImageSequence)
            assert isinstance(transformer.fit_transform(photo()[np.newaxis]), np.ndarray)


def test_set_output_of_a_pipeline_reaches_the_features(image_paths):
    pipeline = make_pipeline(AspectAwareResize(4), MeanSubtract(), Flatten(), StandardScaler())
    table = pipeline.set_output(transform="pandas").fit_transform(image_paths)
    assert table.shape == (12, 48)
    assert table.columns.tolist() == [f"pixel{i}" for i in range(48)]


@pytest.mark.parametrize("transformer", TRANSFORMERS)
def test_feature_names(transformer):
    names = transformer.get_feature_names_out()
    assert names.dtype == object
    assert names.tolist() == transformer.get_feature_names_out(["path"]).tolist() == ["image"]


def test_feature_names_of_a_pipeline(image_paths):
    pipeline = make_pipeline(AspectAwareResize(4), MeanSubtract()).fit(image_paths)
    assert pipeline.get_feature_names_out().tolist() == ["image"]
    pipeline = make_pipeline(AspectAwareResize(4), MeanSubtract(), Flatten()).fit(image_paths)
    assert pipeline.get_feature_names_out(["path"]).tolist() == [f"pixel{i}" for i in range(48)]


def test_in_a_feature_union(image_paths):
    union = FeatureUnion(
        [
            ("small", make_pipeline(AspectAwareResize(2), Flatten())),
            ("grey", make_pipeline(AspectAwareResize(3, channels="grey"), Flatten())),
        ]
    )
    assert union.fit_transform(image_paths).shape == (12, 12 + 9)


@pytest.mark.parametrize("transformer", TRANSFORMERS)
def test_tags(transformer):
    tags = get_tags(transformer)
    assert tags.no_validation
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.three_d_array
    assert tags.input_tags.string
    assert tags.transformer_tags.preserves_dtype == []


def test_pipeline_repr_and_html():
    pipeline = Pipeline([("resize", AspectAwareResize(4)), ("mean", MeanSubtract())])
    assert "AspectAwareResize(size=4)" in repr(pipeline)
    assert "MeanSubtract" in pipeline._repr_html_()


def test_check_images(image_paths):
    images = check_images(image_paths, np.zeros(12))
    assert (len(images), images.on_error) == (12, "raise")
    assert check_images(images) is images
    assert check_images(images, on_error="nan").on_error == "nan"
    assert check_images(images.with_on_error("nan")).on_error == "nan"
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[12, 3\]|inconsistent.*12.*3"):
        check_images(images, np.zeros(3))


def test_like_input(photo):
    X = photo()[np.newaxis]
    images = as_image_sequence(X)
    assert isinstance(like_input(X, images), np.ndarray)
    assert like_input(list(X), images) is images
    assert like_input(images, images) is images


def test_the_mixin_serves_other_transformers(image_paths):
    class Untouched(ImageTransformerMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return as_image_sequence(X)

    pipeline = make_pipeline(Untouched(), AspectAwareResize(4)).set_output(transform="pandas")
    assert isinstance(pipeline.fit_transform(image_paths), ImageSequence)
