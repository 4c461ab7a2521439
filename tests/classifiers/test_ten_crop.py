import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from skcnn import AspectAwareResize, CNNFeatureExtractor, FineTunedCNNClassifier, MeanSubtract, TenCropClassifier
from skcnn.backbones import FrozenNetwork
from skcnn.classifiers import _ten_crop
from skcnn.exceptions import ImageReadError
from skcnn.images import FlipHorizontal, ImageSequence, ResizeCrop, TenCrop, as_image_sequence

LABELS = np.array(["cat", "dog", "emu"] * 4)
SIZES = {"resize": 20, "crop_size": 16}
NESTED = ["features", "pixels", pytest.param("fine-tuned", marks=pytest.mark.slow)]


@pytest.fixture
def decodes(monkeypatch):
    """The list that grows with every image that is decoded."""
    make_views, decoded = ImageSequence._make_views, []

    def counting(self, content, views):
        decoded.append(content.digest)
        return make_views(self, content, views)

    monkeypatch.setattr(ImageSequence, "_make_views", counting)
    return decoded


def crops_of(path, resize=20, size=16):
    """The ten crops of an image, cut by hand."""
    image = as_image_sequence([path]).with_step(ResizeCrop(resize, resize))[0]
    end, mid = resize - size, (resize - size) // 2
    corners = [(0, 0), (0, end), (end, 0), (end, end), (mid, mid)]
    crops = [image[top : top + size, left : left + size] for top, left in corners]
    return np.stack([*crops, *(crop[:, ::-1] for crop in crops)])


# Against crops cut by hand --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("average", "flips"),
    [
        ("mean", True),
        ("mean", False),
        pytest.param("geometric", True, marks=pytest.mark.slow),
        pytest.param("max", True, marks=pytest.mark.slow),
        pytest.param("geometric", False, marks=pytest.mark.slow),
        pytest.param("max", False, marks=pytest.mark.slow),
    ],
)
def test_probabilities_are_the_average_over_the_crops(classifier, files, average, flips):
    clf = TenCropClassifier(classifier, average=average, horizontal_flips=flips, **SIZES).fit(files, LABELS)
    plain = clone(classifier).fit(files, LABELS)
    of_crops = np.stack([plain.predict_proba(crops_of(path)[: 10 if flips else 5]) for path in files])
    expected = {
        "mean": of_crops.mean(axis=1),
        "geometric": np.exp(np.log(of_crops).mean(axis=1)),
        "max": of_crops.max(axis=1),
    }[average]
    expected /= expected.sum(axis=1, keepdims=True)
    probabilities = clf.predict_proba(files)
    assert probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    np.testing.assert_array_equal(clf.predict(files), plain.classes_[expected.argmax(axis=1)])


def test_training_is_untouched_by_default(classifier, files):
    clf = TenCropClassifier(classifier, **SIZES).fit(files, LABELS)
    plain = clone(classifier).fit(files, LABELS)
    np.testing.assert_array_equal(clf.estimator_.predict_proba(files), plain.predict_proba(files))


def test_all_crops_are_trained_on_where_that_is_asked_for(classifier, files):
    clf = TenCropClassifier(classifier, fit_crops=True, **SIZES).fit(files, LABELS)
    crops = np.concatenate([crops_of(path) for path in files])
    plain = clone(classifier).fit(crops, np.repeat(LABELS, 10))
    np.testing.assert_allclose(clf.estimator_.predict_proba(files), plain.predict_proba(files), atol=2e-3)


def test_a_class_that_one_crop_rules_out_keeps_a_chance():
    probabilities = np.array([[[0.0, 1.0], [0.9, 0.1]], [[1.0, 0.0], [0.0, 1.0]]])
    joined = _ten_crop.average_probabilities(probabilities, "geometric")
    assert np.isfinite(joined).all()
    np.testing.assert_allclose(joined.sum(axis=1), 1)
    np.testing.assert_allclose(joined[1], 0.5)


# What is computed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, None])
def test_one_decode_serves_all_crops(residual, files, decodes, run_sizes, cache):
    extractor = CNNFeatureExtractor(residual, cache=cache)
    clf = make_pipeline(extractor, LogisticRegression()).fit(files, LABELS)
    decodes.clear()
    run_sizes.clear()
    TenCropClassifier(clf, **SIZES).predict(files)
    assert len(decodes) == 12
    assert sum(run_sizes) == 120


def test_one_decode_serves_all_crops_of_pixels(on_pixels, files, decodes):
    clf = on_pixels.fit(files, LABELS)
    decodes.clear()
    TenCropClassifier(clf, **SIZES).predict(files)
    assert len(decodes) == 12


@pytest.mark.parametrize("which", ["features", "fine-tuned"])
def test_a_second_time_no_trunk_is_loaded_and_no_image_decoded(
    regression, tuned, files, decodes, monkeypatch, new_process, later, which
):
    clf = TenCropClassifier({"features": regression, "fine-tuned": tuned}[which], **SIZES).fit(files, LABELS)
    first = clf.predict_proba(files)
    decodes.clear()
    new_process()

    def refuse(self, engine):
        raise AssertionError("the trunk was loaded")

    monkeypatch.setattr(FrozenNetwork, "load", refuse)
    np.testing.assert_array_equal(clf.predict_proba(files), first)
    # Another way of averaging, other classes, other images among those: all read the same rows.
    clf.set_params(average="max").fit(files, LABELS[::-1])
    assert clf.predict(files[3:7]).shape == (4,)
    assert not decodes


def test_images_go_to_the_estimator_in_portions(regression, files, monkeypatch):
    clf = TenCropClassifier(regression, **SIZES).fit(files, LABELS)
    expected = clf.predict_proba(files)
    portions = []

    class Watched(FrozenEstimator):
        def predict_proba(self, X):
            portions.append(len(X))
            return self.estimator.predict_proba(X)

    monkeypatch.setattr(_ten_crop, "IMAGES_AT_ONCE", 5)
    probabilities = TenCropClassifier(Watched(clf.estimator_), **SIZES).predict_proba(files)
    assert portions == [50, 50, 20]
    np.testing.assert_allclose(probabilities, expected, atol=1e-12)


def test_small_images_are_enlarged(regression, pixels):
    clf = TenCropClassifier(regression, resize=64, crop_size=48).fit(pixels, LABELS)
    assert pixels.shape[1:3] == (16, 16)
    enlarged = as_image_sequence(pixels).with_step(ResizeCrop(64, 64)).with_step(TenCrop(48, 48))
    of_crops = np.stack([clf.estimator_.predict_proba(views) for views in enlarged])
    np.testing.assert_allclose(clf.predict_proba(pixels), of_crops.mean(axis=1), atol=1e-5)


def test_crops_as_large_as_the_image_are_the_image_and_its_mirror_image(classifier, files, run_sizes):
    fitted = classifier.fit(files, LABELS)
    clf = TenCropClassifier(fitted, resize=16, crop_size=16)
    images = as_image_sequence(files).with_step(ResizeCrop(16, 16))
    each = [fitted.predict_proba(images), fitted.predict_proba(images.with_step(FlipHorizontal()))]
    run_sizes.clear()
    np.testing.assert_allclose(clf.predict_proba(files), np.mean(each, axis=0), atol=1e-6)
    assert sum(run_sizes) in (0, 24)
    alone = TenCropClassifier(fitted, resize=16, crop_size=16, horizontal_flips=False)
    np.testing.assert_allclose(alone.predict_proba(files), each[0], atol=1e-6)


def test_crops_need_not_be_squares(regression, files):
    clf = TenCropClassifier(regression, resize=(20, 30), crop_size=(16, 24)).fit(files, LABELS)
    assert clf.predict_proba(files).shape == (12, 3)


# Fitted or not --------------------------------------------------------------------------------------------------------


def test_an_estimator_that_came_fitted_is_used_as_it_is(regression, files):
    clf = TenCropClassifier(regression.fit(files, LABELS), **SIZES)
    fitted = TenCropClassifier(regression, **SIZES).fit(files, LABELS)
    np.testing.assert_array_equal(clf.predict_proba(files), fitted.predict_proba(files))
    np.testing.assert_array_equal(clf.classes_, ["cat", "dog", "emu"])
    assert clf.score(files, LABELS) == fitted.score(files, LABELS)
    # Fitting trains a clone, and the one that was handed over stays as it was.
    clf.fit(files[:8], np.array(["x", "y"] * 4))
    assert clf.classes_.tolist() == ["x", "y"]
    assert regression.classes_.tolist() == ["cat", "dog", "emu"]


def test_nothing_is_predicted_unfitted(regression, files):
    clf = TenCropClassifier(regression, **SIZES)
    for method in (clf.predict, clf.predict_proba):
        with pytest.raises(NotFittedError, match="TenCropClassifier instance is not fitted yet, and nor is its estima"):
            method(files)
    assert not hasattr(clf, "classes_")


def test_a_pickle_does_the_same(regression, files):
    clf = TenCropClassifier(regression, **SIZES).fit(files, LABELS)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(files), clf.predict_proba(files))


# Corrected and made wrong ---------------------------------------------------------------------------------------------


def test_scores_count_predictions_corrected_and_made_wrong(regression, files):
    labels = np.array(["dog", "cat", "emu"] * 2 + ["cat", "emu", "dog"] * 2)
    clf = TenCropClassifier(regression.fit(files, LABELS), resize=40, crop_size=16)
    single, averaged = regression.predict(files) == labels, clf.predict(files) == labels
    assert (single != averaged).any()
    scores = clf.view_scores(files, labels)
    assert scores.rows == ["all", "cat", "dog", "emu"]
    assert scores.row("all") == {
        "images": 12,
        "single": single.mean(),
        "averaged": averaged.mean(),
        "corrected": (averaged & ~single).sum(),
        "made_wrong": (single & ~averaged).sum(),
    }
    for column in ("images", "corrected", "made_wrong"):
        assert scores[column][0] == scores[column][1:].sum()
    dogs = labels == "dog"
    assert scores.row("dog")["averaged"] == averaged[dogs].mean()
    assert list(scores.to_frame().columns) == ["images", "single", "averaged", "corrected", "made_wrong"]
    assert str(scores).splitlines()[0].split() == ["images", "single", "averaged", "corrected", "made_wrong"]


# In and around other estimators ---------------------------------------------------------------------------------------


def test_searches_over_its_own_parameters_and_those_inside(regression, files, run_sizes):
    grid = {"estimator__logisticregression__C": [0.1, 1.0, 10.0], "average": ["mean", "max"]}
    search = GridSearchCV(TenCropClassifier(regression, **SIZES), grid, cv=2, error_score="raise").fit(files, LABELS)
    assert search.best_params_.keys() == grid.keys()
    assert search.predict(files).shape == (12,)
    # Each image once as it is, and once as ten crops.
    assert sum(run_sizes) == 12 + 120


def check_nesting(classifier, files, *, fit_crops, n_jobs=None):
    ten = TenCropClassifier(classifier, fit_crops=fit_crops, **SIZES)
    names = [("ten", ten), ("plain", classifier)]
    for outer in (
        CalibratedClassifierCV(ten, cv=2),
        CalibratedClassifierCV(FrozenEstimator(clone(ten).fit(files, LABELS)), cv=2),
        StackingClassifier(names, LogisticRegression(), cv=2),
        VotingClassifier(names, voting="soft"),
        make_pipeline(FunctionTransformer(as_image_sequence), ten),
        TenCropClassifier(CalibratedClassifierCV(classifier, cv=2), fit_crops=fit_crops, **SIZES),
        TenCropClassifier(StackingClassifier([("plain", classifier)], cv=2), **SIZES),
        TenCropClassifier(GridSearchCV(classifier, {}, cv=2), fit_crops=fit_crops, **SIZES),
    ):
        probabilities = outer.fit(files, LABELS).predict_proba(files)
        assert probabilities.shape == (12, 3), outer
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert outer.classes_.tolist() == ["cat", "dog", "emu"]
    columns = np.array(files, object)[:, None]
    bag = BaggingClassifier(ten, n_estimators=2, random_state=0).fit(columns, LABELS)
    assert bag.predict_proba(columns).shape == (12, 3)
    held_out = cross_val_predict(ten, files, LABELS, cv=2, method="predict_proba", n_jobs=n_jobs)
    assert held_out.shape == (12, 3)
    assert cross_val_score(ten, files, LABELS, cv=2, error_score="raise").shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize("classifier", NESTED, indirect=True)
def test_it_nests(classifier, files):
    check_nesting(classifier, files, fit_crops=False)


@pytest.mark.slow
def test_it_nests_where_crops_are_trained_on(regression, files):
    check_nesting(regression, files, fit_crops=True, n_jobs=2)


def test_pixels_centred_before(residual, files):
    tuned = FineTunedCNNClassifier(residual, unfreeze=0, preprocess=None)
    clf = make_pipeline(AspectAwareResize(32), MeanSubtract(), TenCropClassifier(tuned, **SIZES)).fit(files, LABELS)
    assert clf.predict_proba(files).shape == (12, 3)


@pytest.mark.slow
def test_the_default_backbone_end_to_end(image_paths):
    pipeline = make_pipeline(CNNFeatureExtractor(), LogisticRegression())
    labels = np.repeat(["apple", "leaf", "sea"], 4)
    clf = CalibratedClassifierCV(TenCropClassifier(pipeline), cv=2).fit(image_paths, labels)
    assert clf.score(image_paths, labels) == 1
    scores = TenCropClassifier(pipeline).fit(image_paths, labels).view_scores(image_paths, labels)
    assert scores.row("all") == {"images": 12, "single": 1, "averaged": 1, "corrected": 0, "made_wrong": 0}


# Weights --------------------------------------------------------------------------------------------------------------

WEIGHTS = np.array([1, 5, 0.5] * 3 + [0, 2, 1])


@pytest.mark.slow
@pytest.mark.parametrize("fit_crops", [False, True])
def test_weights_reach_the_estimator(regression, tuned, files, fit_crops):
    ten = TenCropClassifier(tuned, fit_crops=fit_crops, **SIZES)
    weighted = clone(ten).fit(files, LABELS, sample_weight=WEIGHTS).predict_proba(files)
    plain = clone(ten).fit(files, LABELS).predict_proba(files)
    assert np.abs(weighted - plain).max() > 1e-3
    whole = clone(ten).fit(files, LABELS, sample_weight=np.ones(12)).predict_proba(files)
    np.testing.assert_allclose(whole, plain, atol=1e-4)
    ten = TenCropClassifier(regression, fit_crops=fit_crops, **SIZES)
    by_step = ten.fit(files, LABELS, logisticregression__sample_weight=WEIGHTS).predict_proba(files)
    assert np.abs(by_step - clone(ten).fit(files, LABELS).predict_proba(files)).max() > 1e-3
    to_the_last = clone(ten).fit(files, LABELS, sample_weight=WEIGHTS).predict_proba(files)
    np.testing.assert_array_equal(to_the_last, by_step)


def test_weights_for_an_estimator_that_takes_none(residual, files):
    nearest = make_pipeline(CNNFeatureExtractor(residual), KNeighborsClassifier(2))
    with pytest.raises(TypeError, match="KNeighborsClassifier takes no sample_weight; leave it out"):
        TenCropClassifier(nearest, **SIZES).fit(files, LABELS, sample_weight=WEIGHTS)


@pytest.mark.slow
@pytest.mark.parametrize(("inner", "fit_crops"), [("fine-tuned", False), ("features", True)])
def test_weights_are_routed(residual, tuned, files, inner, fit_crops):
    with config_context(enable_metadata_routing=True):
        step = LogisticRegression().set_fit_request(sample_weight=True)
        inner = {
            "features": make_pipeline(CNNFeatureExtractor(residual), step),
            "fine-tuned": tuned.set_fit_request(sample_weight=True),
        }[inner]
        ten = TenCropClassifier(inner, fit_crops=fit_crops, **SIZES).set_score_request(sample_weight=False)
        weighted = clone(ten).fit(files, LABELS, sample_weight=WEIGHTS).predict_proba(files)
        assert np.abs(weighted - clone(ten).fit(files, LABELS).predict_proba(files)).max() > 1e-3
        result = cross_validate(ten, files, LABELS, params={"sample_weight": WEIGHTS}, cv=2, return_estimator=True)
        without = cross_validate(ten, files, LABELS, cv=2, return_estimator=True)
        one, other = (each["estimator"][0].predict_proba(files) for each in (result, without))
        assert np.abs(one - other).max() > 1e-3


def test_weights_that_nobody_asked_for_are_refused(tuned, files):
    with config_context(enable_metadata_routing=True):
        ten = TenCropClassifier(tuned.set_fit_request(sample_weight=None), **SIZES)
        with pytest.raises(ValueError, match=r"\[sample_weight\] are passed but are not explicitly set as requested"):
            ten.fit(files, LABELS, sample_weight=WEIGHTS)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("resize", "crop"), [(20, 21), ((20, 40), 21), ((40, 20), (16, 21))])
def test_crops_larger_than_the_images(regression, files, resize, crop):
    clf = TenCropClassifier(regression.fit(files, LABELS), resize=resize, crop_size=crop)
    message = r"crops of \d+ x \d+ pixels do not fit in images of \d+ x \d+; the 'crop_size' parameter must be at most"
    for call in (lambda: clf.fit(files, LABELS), lambda: clf.predict(files)):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": 0}, "The 'resize' parameter must be"),
        ({"crop_size": (1, 2, 3)}, "The 'crop_size' parameter must be"),
        ({"average": "median"}, "The 'average' parameter must be one of 'mean', 'geometric', 'max'"),
        ({"horizontal_flips": 2}, "The 'horizontal_flips' parameter must be True or False"),
        ({"fit_crops": "yes"}, "The 'fit_crops' parameter must be True or False"),
    ],
)
def test_parameters_out_of_range(regression, files, settings, message):
    with pytest.raises(ValueError, match=message):
        TenCropClassifier(regression, **settings).fit(files, LABELS)


def test_an_estimator_without_probabilities(residual, files):
    pipeline = make_pipeline(CNNFeatureExtractor(residual), LinearSVC())
    for estimator, name in (
        (pipeline, "a Pipeline that ends in LinearSVC"),
        (AspectAwareResize(), "AspectAwareResize"),
        ("logistic regression", "'logistic regression'"),
        (None, "None"),
    ):
        with pytest.raises(TypeError, match=f"averages probabilities, and {name} has no predict_proba; take a class"):
            TenCropClassifier(estimator, **SIZES).fit(files, LABELS)
    with pytest.raises(TypeError, match="has no predict_proba"):
        TenCropClassifier(pipeline.fit(files, LABELS), **SIZES).predict(files)
    with pytest.raises(
        TypeError, match=r"takes an estimator, not a class: write FineTunedCNNClassifier\(\) with paren"
    ):
        TenCropClassifier(FineTunedCNNClassifier).fit(files, LABELS)


def test_images_that_have_views_already(regression, files):
    crops = as_image_sequence(files).with_step(ResizeCrop(20, 20)).with_step(TenCrop(16, 16))
    clf = TenCropClassifier(regression, **SIZES).fit(files, LABELS)
    for images in (crops, crops.with_view(4), crops.with_views_apart()):
        with pytest.raises(ValueError, match="the images have 10 views already; TenCropClassifier takes images and"):
            clf.predict(images)
    with pytest.raises(ValueError, match="the images have 10 views already"):
        TenCropClassifier(clf, **SIZES).predict(files)


def test_every_unreadable_image_is_named_at_its_place(classifier, files, tmp_path, monkeypatch):
    clf = TenCropClassifier(classifier, **SIZES).fit(files, LABELS)
    (tmp_path / "note.png").write_text("no image")
    paths = [*files, str(tmp_path / "note.png"), files[0], str(tmp_path / "gone.png")]
    monkeypatch.setattr(_ten_crop, "IMAGES_AT_ONCE", 5)
    with pytest.raises(
        ImageReadError, match=r"^2 of 15 images cannot be read:\n  \[12\].*note.png.*\n  \[14\].*gone.p"
    ):
        clf.predict(paths)
    with pytest.raises(ImageReadError, match="of 15 images cannot be read"):
        TenCropClassifier(classifier, fit_crops=True, **SIZES).fit(paths, np.resize(LABELS, 15))


def test_labels_of_another_length(regression, files):
    for fit_crops in (False, True):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            TenCropClassifier(regression, fit_crops=fit_crops, **SIZES).fit(files, LABELS[:5])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        TenCropClassifier(regression.fit(files, LABELS), **SIZES).view_scores(files, LABELS[:5])
