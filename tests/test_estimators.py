"""Scikit-learn's contract: its whole suite of checks, on estimators that are fed rows of numbers as tiny images.

The suite knows only tables; fed images, it runs one hollow check. So each estimator is tested as a subclass that
validates a table, as any scikit-learn estimator does, and hands each row on as an image. What needs no data runs on the
classes themselves.
"""

import inspect
import pickle
from unittest import SkipTest

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils import estimator_checks, estimator_html_repr
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_is_fitted, validate_data

import skcnn
from skcnn import (
    AspectAwareResize,
    CNNClassifier,
    CNNEnsembleClassifier,
    CNNFeatureExtractor,
    FineTunedCNNClassifier,
    MeanSubtract,
    TenCropClassifier,
)
from skcnn.architectures import Architecture
from skcnn.training import DenseHead

# The methods that were given a table; a check that leaves no trace here has checked nothing.
fed = []


def take_table(estimator, X, method):
    """Validate a table and return each row as an image of (8, 8, 3), float32 in [0, 255]."""
    fed.append(method)
    values = 127.5 + 127.5 * np.sin(validate_data(estimator, X, reset=method == "fit").astype(np.float64))
    return np.stack([np.resize(row, (8, 8, 3)) for row in values]).astype(np.float32)


def table_tags(tags):
    tags.no_validation = False
    tags.input_tags.two_d_array, tags.input_tags.three_d_array, tags.input_tags.string = True, False, False
    if tags.transformer_tags is not None:
        tags.transformer_tags.preserves_dtype = ["float32"]
    return tags


class RowFedExtractor(CNNFeatureExtractor):
    def fit(self, X, y=None):
        return super().fit(take_table(self, X, "fit"), y)

    def transform(self, X):
        images = take_table(self, X, "transform")
        # Not wrapped by set_output: that is to see the table, as it sees the paths of the real one.
        return CNNFeatureExtractor.transform.__wrapped__(self, images)

    def __sklearn_tags__(self):
        return table_tags(super().__sklearn_tags__())


class RowFedImages(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Flattens what comes out: a table again, of which column names and pandas output make sense."""

    set_output = TransformerMixin.set_output

    def fit(self, X, y=None):
        images = take_table(self, X, "fit")
        super().fit(images, y)
        self._n_features_out = super().transform(images[:1]).size
        return self

    def transform(self, X):
        images = take_table(self, X, "transform")
        return super().transform(images).reshape(len(images), -1)

    def __sklearn_tags__(self):
        return table_tags(super().__sklearn_tags__())


class RowFedResize(RowFedImages, AspectAwareResize):
    pass


class RowFedMean(RowFedImages, MeanSubtract):
    def inverse_transform(self, X):
        return super().inverse_transform(np.reshape(X, (-1, 8, 8, 3))).reshape(len(X), -1)


class RowFedClassifier:
    def fit(self, X, y=None, sample_weight=None):
        return super().fit(take_table(self, X, "fit"), y, sample_weight)

    def predict_proba(self, X):
        check_is_fitted(self)
        return super().predict_proba(take_table(self, X, "predict_proba"))

    def __sklearn_tags__(self):
        return table_tags(super().__sklearn_tags__())


class RowFedFineTuned(RowFedClassifier, FineTunedCNNClassifier):
    pass


class RowFedCNN(RowFedClassifier, CNNClassifier):
    pass


def flat(images):
    """Return images (n, h, w, c) as rows of numbers in [-1, 1]."""
    return np.reshape(images, (len(images), -1)).astype(np.float64) / 127.5 - 1


class RegressionOfPixels(LogisticRegression):
    """What wrappers are tested with: it takes images, too, and learns in no time, to the last digit."""

    def __init__(self, C=1.0, solver="newton-cg", tol=1e-10):
        super().__init__(C=C, solver=solver, tol=tol)

    def fit(self, X, y, sample_weight=None):
        return super().fit(flat(X), y, sample_weight)

    def decision_function(self, X):
        return super().decision_function(flat(X))


class RowFedTenCrop(RowFedClassifier, TenCropClassifier):
    pass


class RowFedEnsemble(RowFedClassifier, CNNEnsembleClassifier):
    pass


ROW_FED = [
    RowFedExtractor("tiny.keras", batch_size=7),
    RowFedExtractor("tiny.keras", layer=-1, pooling="flatten", cache=None),
    RowFedResize((4, 6)),
    RowFedMean(std=True),
    RowFedFineTuned("tiny.keras", pooling="flatten", unfreeze=0),
    RowFedFineTuned("tiny.keras", pooling="flatten", unfreeze="all", epochs=3),
    RowFedFineTuned("tiny.keras", pooling="flatten", unfreeze=0, head=DenseHead(16, learning_rate=0.01), cache=None),
    RowFedCNN(
        Architecture("mlp", units=(16,), dropout=0.1, batch_norm="before"), input_size=8, epochs=10, learning_rate=0.02
    ),
    RowFedTenCrop(RegressionOfPixels(), resize=8, crop_size=8, horizontal_flips=False),
    RowFedTenCrop(
        RegressionOfPixels(),
        resize=(8, 9),
        crop_size=(8, 9),
        horizontal_flips=False,
        average="geometric",
        fit_crops=True,
    ),
    RowFedEnsemble([("strong", RegressionOfPixels()), ("weak", RegressionOfPixels(C=0.1))], weights=[2, 1]),
    RowFedEnsemble(
        FineTunedCNNClassifier("tiny.keras", pooling="flatten", unfreeze="all", epochs=2),
        n_estimators=2,
        method="snapshot",
    ),
    RowFedEnsemble(
        FineTunedCNNClassifier("tiny.keras", pooling="flatten", unfreeze="all", epochs=1), n_estimators=2, method="soup"
    ),
]


def expected_failed_checks(estimator):
    """Return what cannot hold, with the reason."""
    if isinstance(estimator, FineTunedCNNClassifier) and (estimator.unfreeze or estimator.head != "probe"):
        reason = "another number of images is another order of batches; the probe alone does pass"
        return {"check_sample_weight_equivalence_on_dense_data": reason}
    if isinstance(estimator, CNNClassifier):
        reason = "another number of images is another order of batches"
        return {"check_sample_weight_equivalence_on_dense_data": reason}
    if isinstance(estimator, CNNEnsembleClassifier) and estimator.method != "independent":
        reason = "another number of images is another order of batches, and others are held out"
        return {"check_sample_weight_equivalence_on_dense_data": reason}
    return {}


# Not in the suite that scikit-learn gives to others, but run on its own transformers.
EXTRA_CHECKS = [
    "check_dataframe_column_names_consistency",
    "check_get_feature_names_out_error",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]
# What asks nothing of data, as far as the installed version has it.
DATA_FREE_CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_do_not_raise_errors_in_init_or_set_param",
    "check_estimator_cloneable",
    "check_estimator_get_tags_default_keys",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]
# They look for methods or parameters that these estimators do not have.
IDLE_CHECKS = [
    "check_decision_proba_consistency",
    "check_estimators_partial_fit_n_features",
    "check_estimators_unfitted",
    "check_non_transformer_estimators_n_iter",
    "check_transformer_n_iter",
]
# They run only under SCIPY_ARRAY_API=1, set before SciPy is imported.
ENVIRONMENT_CHECKS = ["check_array_api_input"]


# They compare to the last digit. `test_a_part_of_the_images_gets_the_same_probabilities` allows for rounding.
CHECKS_OF_BATCHES = ["check_methods_sample_order_invariance", "check_methods_subset_invariance"]
MAY_DEPEND_ON_THE_BATCH = pytest.mark.xfail(
    strict=False, reason="float32: on some processors the last digits depend on the images that are computed together"
)


def named(checks):
    """Return those of the checks that the installed scikit-learn has."""
    return [getattr(estimator_checks, name) for name in checks if hasattr(estimator_checks, name)]


def short_name(value):
    """Name a class, an estimator or a check."""
    return getattr(getattr(value, "func", value), "__name__", None) or type(value).__name__


def has_trained_layers(estimator):
    """Whether more than a head is trained."""
    settings = estimator.get_params(deep=False)
    trains = "architecture" in settings or bool(settings.get("unfreeze"))
    return trains or settings.get("method", "independent") != "independent"


def cases_of(estimator):
    """Return an estimator with each check; only `make test-all` runs those of variants that train for long."""
    failing = expected_failed_checks(estimator)
    trains = has_trained_layers(estimator)
    marks_of_all = [pytest.mark.slow] if trains or getattr(estimator, "head", "probe") != "probe" else []
    # `parametrize_with_checks`, by the function it is made of: before scikit-learn 1.9, new versions of pytest reject it.
    for case in estimator_checks_generator(estimator, expected_failed_checks=failing, mark="xfail"):
        values, marks = (case, ()) if type(case) is tuple else (case.values, case.marks)
        of_batches = [MAY_DEPEND_ON_THE_BATCH] if trains and short_name(values[1]) in CHECKS_OF_BATCHES else []
        yield pytest.param(*values, marks=[*marks, *marks_of_all, *of_batches])


SUITE = [case for estimator in ROW_FED for case in cases_of(estimator)]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A folder with tiny.keras, of weights that are whole numbers or 1/64: float32 is nearly exact, so the batch changes no result."""
    import keras

    rng = np.random.default_rng(0)
    inputs = keras.Input((8, 8, 3))
    conv = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")
    model = keras.Model(inputs, conv(keras.layers.Rescaling(1 / 64)(inputs)))
    conv.set_weights([rng.integers(-2, 3, (3, 3, 3, 6)).astype(np.float32), np.arange(6, dtype=np.float32)])
    folder = tmp_path_factory.mktemp("model")
    model.save(folder / "tiny.keras")
    return folder


@pytest.fixture
def beside_tiny(tiny_folder, monkeypatch):
    """Checks are collected before any fixture runs, so their extractors name the file without its folder."""
    monkeypatch.chdir(tiny_folder)


@pytest.mark.slow
@pytest.mark.usefixtures("beside_tiny")
@pytest.mark.parametrize("estimator", [each for each in ROW_FED if has_trained_layers(each)], ids=short_name)
def test_a_part_of_the_images_gets_the_same_probabilities(estimator):
    X, y = make_blobs(30, centers=3, n_features=5, random_state=0)
    clf = clone(estimator).fit(X, y)
    expected = clf.predict_proba(X)
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_allclose(clf.predict_proba(X[order]), expected[order], rtol=1e-3, atol=1e-5)
    alone = np.concatenate([clf.predict_proba(X[[index]]) for index in range(30)])
    np.testing.assert_allclose(alone, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("beside_tiny")
@pytest.mark.parametrize(("estimator", "check"), SUITE, ids=short_name)
def test_scikit_learns_suite(estimator, check):
    fed.clear()
    name = check.func.__name__
    try:
        check(estimator)
    except SkipTest as skip:
        if name not in ENVIRONMENT_CHECKS:
            pytest.fail(f"scikit-learn skipped the check: {skip}")
        raise
    assert fed or name in (*DATA_FREE_CHECKS, *IDLE_CHECKS)


@pytest.mark.parametrize("estimator", ROW_FED, ids=short_name)
def test_the_suite_is_a_whole_one(estimator):
    names = [check.func.__name__ for _, check in estimator_checks_generator(estimator)]
    assert len(names) >= 40
    of_its_kind = (
        {"check_transformer_general", "check_transformer_preserve_dtypes"}
        if hasattr(estimator, "transform")
        else {"check_classifiers_train", "check_classifiers_classes"}
    )
    if "class_weight" in estimator.get_params(deep=False):
        of_its_kind.add("check_class_weight_classifiers")
    assert {
        "check_dict_unchanged",
        "check_estimators_nan_inf",
        "check_estimators_pickle",
        "check_fit_idempotent",
        "check_methods_subset_invariance",
        "check_n_features_in",
        *of_its_kind,
    } <= set(names)


@pytest.mark.usefixtures("beside_tiny")
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
@pytest.mark.parametrize("check", named(EXTRA_CHECKS), ids=short_name)
@pytest.mark.parametrize("estimator", [each for each in ROW_FED if hasattr(each, "transform")], ids=short_name)
def test_names_and_containers(estimator, check):
    fed.clear()
    check(type(estimator).__name__, estimator)
    assert fed or check.__name__ == "check_get_feature_names_out_error"


# The classes themselves ---------------------------------------------------------------------------------------------

# `ScikerasClassifier` follows the conventions of scikeras, and is tested in a file of its own.
ESTIMATORS = [
    thing
    for thing in (getattr(skcnn, name) for name in skcnn.__all__ if name != "ScikerasClassifier")
    if inspect.isclass(thing) and issubclass(thing, BaseEstimator)
]
# How to fit each in no time.
SMALL = {
    "AspectAwareResize": {"size": (8, 9)},
    "CNNClassifier": {"architecture": "lenet", "input_size": 8, "epochs": 1},
    "CNNEnsembleClassifier": {
        "estimator": FineTunedCNNClassifier("tiny.keras", head=DenseHead(4, epochs=1), unfreeze=0),
        "n_estimators": 2,
    },
    "CNNFeatureExtractor": {"backbone": "tiny.keras"},
    "FineTunedCNNClassifier": {"backbone": "tiny.keras", "unfreeze": 0},
    "MeanSubtract": {"std": True},
    "PretrainedCNNClassifier": {
        "weights": None,
        "classes": ["apple", "leaf", "sea", *map(str, range(997))],
        "input_size": 32,
    },
    "TenCropClassifier": {
        "estimator": FineTunedCNNClassifier("tiny.keras", unfreeze=0),
        "resize": 12,
        "crop_size": 8,
    },
}


LABELS = np.repeat(["apple", "leaf", "sea"], 4)


def made(estimator_class, **settings):
    """Return an estimator with the given parameters, and something for each that has no default."""
    parameters = inspect.signature(estimator_class).parameters.values()
    required = {
        parameter.name: LogisticRegression() for parameter in parameters if parameter.default is parameter.empty
    }
    return estimator_class(**{**required, **settings})


def assert_same_parameters(one, other):
    """Estimators have no equality; two with the same parameters have the same repr."""
    assert repr(one.get_params()) == repr(other.get_params())


@pytest.fixture(params=ESTIMATORS, ids=short_name)
def estimator(request):
    return made(request.param)


@pytest.fixture(params=ESTIMATORS, ids=short_name)
def small(request, beside_tiny):
    name = request.param.__name__
    assert name in SMALL, f"say in SMALL how to fit {name} in no time"
    return made(request.param, **SMALL[name])


def test_there_are_estimators():
    assert {CNNFeatureExtractor, AspectAwareResize, MeanSubtract} <= set(ESTIMATORS)


@pytest.mark.parametrize("check", named(DATA_FREE_CHECKS), ids=short_name)
def test_what_needs_no_data(estimator, check):
    check(type(estimator).__name__, estimator)


def test_the_list_of_checks_is_not_outdated():
    assert len(named(DATA_FREE_CHECKS)) >= 10
    assert len(named(EXTRA_CHECKS)) >= 7


def test_tags_tell_of_images(estimator):
    tags = estimator.__sklearn_tags__()
    assert tags.no_validation
    assert tags.input_tags.string
    assert tags.input_tags.three_d_array
    assert not tags.input_tags.two_d_array


def test_every_parameter_is_kept(estimator):
    settings = {name: f"a value of {name}" for name in estimator.get_params(deep=False)}
    assert set(settings) == set(inspect.signature(type(estimator)).parameters)
    by_init, by_set_params = type(estimator)(**settings), estimator.set_params(**settings)
    for one in (by_init, by_set_params, clone(by_init)):
        assert type(one) is type(estimator)
        assert one.get_params(deep=False) == settings
    # Who loads a pickle did not ask for progress from the beginning.
    quiet = {**settings, "verbose": None} if "verbose" in settings else settings
    assert pickle.loads(pickle.dumps(by_init)).get_params(deep=False) == quiet


@pytest.mark.parametrize(("verbose", "loaded"), [(None, None), (0, 0), (False, False), (1, None), (True, None)])
def test_a_pickle_keeps_silence_but_no_verbosity(estimator, verbose, loaded):
    if "verbose" in estimator.get_params():
        copied = pickle.loads(pickle.dumps(estimator.set_params(verbose=verbose)))
        assert copied.verbose is loaded or copied.verbose == loaded
        assert estimator.verbose == verbose


def test_parameters_are_stored_as_they_are(estimator):
    settings = {name: ["a list that could be copied", name] for name in estimator.get_params(deep=False)}
    other = type(estimator)(**settings)
    assert all(getattr(other, name) is value for name, value in settings.items())
    assert set(vars(other)) == set(settings)


def test_an_unknown_parameter_is_refused(estimator):
    with pytest.raises(ValueError, match="Invalid parameter 'no_such_parameter'"):
        estimator.set_params(no_such_parameter=1)


def test_repr_names_what_was_changed(estimator):
    assert repr(estimator).startswith(f"{type(estimator).__name__}(")
    name = next(iter(estimator.get_params(deep=False)))
    assert f"{name}='changed'" in repr(estimator.set_params(**{name: "changed"}))


def test_html_shows_the_estimator_and_whether_it_is_fitted(small, image_paths):
    name = type(small).__name__
    needs_fit = small.__sklearn_tags__().requires_fit
    assert name in estimator_html_repr(small)
    assert ("Not fitted" in estimator_html_repr(small)) is needs_fit
    fitted = small.fit(image_paths, LABELS)
    assert "Not fitted" not in estimator_html_repr(fitted)
    assert name in fitted._repr_mimebundle_()["text/html"]


def test_fitting_changes_no_parameter_and_says_it_is_done(small, image_paths):
    before = small.get_params()
    if small.__sklearn_tags__().requires_fit:
        with pytest.raises(NotFittedError):
            check_is_fitted(small)
    assert small.fit(image_paths, LABELS) is small
    check_is_fitted(small)
    after = small.get_params()
    assert all(after[name] is value for name, value in before.items())


def test_pickles_of_fitted_ones_do_the_same(small, image_paths):
    method = "transform" if hasattr(small, "transform") else "predict_proba"
    expected = getattr(small.fit(image_paths, LABELS), method)(image_paths)
    data = pickle.dumps(small)
    inside = [vars(each) for each in getattr(small, "estimators_", [getattr(small, "estimator_", small)])]
    names = ("head_weights_", "tail_weights_", "weights_")
    weights = [array for each in inside for name in names for array in each.get(name, [])]
    given = ("_layers", "classes")
    layers = sum(len(pickle.dumps(each[name])) for each in inside for name in given if name in each)
    assert len(data) < 5000 * len(inside) + layers + 1.01 * sum(array.nbytes for array in weights)
    other = pickle.loads(data)
    check_is_fitted(other)
    assert_same_parameters(other, small)
    result = getattr(other, method)(image_paths)
    for one, twin in zip(result, expected, strict=True):
        np.testing.assert_array_equal(one, twin)


def test_clones_of_fitted_ones_are_not_fitted(small, image_paths):
    other = clone(small.fit(image_paths, LABELS))
    assert not [name for name in vars(other) if name.endswith("_") and not name.startswith("_")]
    assert_same_parameters(other, small)


@pytest.mark.usefixtures("beside_tiny")
def test_pandas_output_keeps_the_index_of_a_column_of_paths(image_paths):
    import pandas as pd

    paths = pd.DataFrame({"path": image_paths}, index=[f"page {number}" for number in range(12)])
    table = CNNFeatureExtractor("tiny.keras").set_output(transform="pandas").fit_transform(paths)
    assert list(table.index) == list(paths.index)
    assert list(table.columns) == [f"cnnfeatureextractor{column}" for column in range(6)]


@pytest.mark.usefixtures("beside_tiny")
@pytest.mark.parametrize("combine", ["columns", "union"])
@pytest.mark.parametrize("steps", ["features", "resize", "resize and centre"])
def test_rows_of_a_shuffled_table_stay_together(image_paths, combine, steps):
    """Frames are joined by their index: a branch that loses it would give images the numbers of other rows."""
    import pandas as pd

    order = np.random.default_rng(0).permutation(12)
    table = pd.DataFrame({"path": image_paths, "number": np.arange(12.0)}).iloc[order]
    before = {"features": [], "resize": [AspectAwareResize(8)]}
    before["resize and centre"] = [AspectAwareResize(8), MeanSubtract()]
    branch = make_pipeline(*before[steps], CNNFeatureExtractor("tiny.keras", input_size=8, preprocess=None))
    columns = [("image", branch, "path"), ("rest", "passthrough", ["number"])]
    if combine == "columns":
        both = ColumnTransformer(columns)
    else:
        both = FeatureUnion([(column[0], ColumnTransformer([column])) for column in columns])
    got = both.set_output(transform="pandas").fit_transform(table)
    assert list(got.index) == list(table.index)
    np.testing.assert_array_equal(got.iloc[:, -1], table["number"])
    np.testing.assert_array_equal(
        got.iloc[:, :-1], clone(branch).set_output(transform="default").fit_transform(table["path"])
    )


@pytest.mark.usefixtures("beside_tiny")
def test_the_configuration_of_scikit_learn_keeps_the_index_too(image_paths):
    import pandas as pd

    paths = pd.Series(image_paths, index=np.arange(12)[::-1])
    pipe = make_pipeline(AspectAwareResize(8), CNNFeatureExtractor("tiny.keras", input_size=8, preprocess=None))
    with sklearn.config_context(transform_output="pandas"):
        assert list(pipe.fit_transform(paths).index) == list(paths.index)
    assert isinstance(pipe.fit_transform(paths), np.ndarray)


@pytest.mark.usefixtures("beside_tiny")
def test_parameters_may_be_numpys(image_paths):
    plain = {"layer": -1, "batch_size": 5, "input_size": (8, 8), "pooling": "max", "verbose": 0}
    numpys = {
        "layer": np.int64(-1),
        "batch_size": np.int32(5),
        "input_size": np.array([8, 8]),
        "pooling": np.str_("max"),
    }
    expected = CNNFeatureExtractor("tiny.keras", **plain).fit_transform(image_paths)
    extractor = CNNFeatureExtractor("tiny.keras", **numpys)
    np.testing.assert_array_equal(extractor.fit_transform(image_paths), expected)
    assert extractor.cache_info().hits == 12
