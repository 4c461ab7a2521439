import keras
import numpy as np
import pytest

from skcnn.exceptions import ImageReadError
from skcnn.training import Batches, CosineDecay, EarlyStopping, build_head
from skcnn.training._callbacks import Snapshots
from skcnn.training._epoch_inputs import SameInputs
from skcnn.training._loop import feed, largest_divisor, train
from skcnn.training._model import TrainedModel
from skcnn.training._plan import Plan


@pytest.fixture
def task():
    """Features of three classes, and their targets."""
    rng = np.random.default_rng(0)
    codes = np.arange(40) % 3
    features = (rng.normal(size=(40, 5)) + 3 * rng.normal(size=(3, 5))[codes]).astype(np.float32)
    return features, np.eye(3, dtype=np.float32)[codes]


def make_model(dropout=0.3, *, batch_norm=False):
    return TrainedModel(None, build_head(5, 3, units=8, dropout=dropout, batch_norm=batch_norm, l2=0.0, seed=(0,)))


def test_training_is_keras_training_in_the_same_order(task):
    features, targets = task
    batches = Batches(SameInputs(features), targets, np.linspace(0, 2, 40, dtype=np.float32), batch_size=16, seed=(3,))
    model, twin = make_model(batch_norm=True), make_model(batch_norm=True).head
    train("head", model, batches, Plan(3, keras.optimizers.Adam(0.01), label_smoothing=0.1))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    twin.compile(keras.optimizers.Adam(0.01), loss)
    for batch in batches.epochs(3):
        twin.train_on_batch(*batch)
    # The statistics that `predict` normalises by are those of all images, not what Keras has kept of 9 steps.
    values = features @ twin.get_layer("hidden").get_weights()[0]
    norm = twin.get_layer("hidden_norm")
    assert abs(norm.moving_mean.numpy() - values.mean(axis=0)).max() > 0.1
    norm.moving_mean.assign(values.mean(axis=0))
    norm.moving_variance.assign(values.var(axis=0))
    for ours, theirs in zip(model.head.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_record_for_each_epoch(task):
    records = train(
        "head",
        make_model(),
        Batches(SameInputs(task[0]), task[1], None, 16, (0,)),
        Plan(4, keras.optimizers.SGD(0.125)),
    ).history
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert {record["phase"] for record in records} == {"head"}
    assert {record["learning_rate"] for record in records} == {0.125}
    assert records[-1]["loss"] < records[0]["loss"]
    assert 0 <= records[0]["accuracy"] <= records[-1]["accuracy"] <= 1
    assert all(record["seconds"] > 0 for record in records)


def test_a_progress_bar_on_request(task, capsys):
    batches = Batches(SameInputs(task[0]), task[1], None, 16, (0,))
    train("fine-tune", make_model(), batches, Plan(2, keras.optimizers.SGD(0.1)))
    assert capsys.readouterr() == ("", "")
    train("fine-tune", make_model(), batches, Plan(2, keras.optimizers.SGD(0.1)), verbose=1)
    shown = capsys.readouterr().err
    assert "fine-tune: 2 of 2 (100 %)" in shown
    assert "loss=" in shown


def test_a_loss_that_is_no_number_ends_training(task):
    features = task[0]
    features[3, 0] = np.nan
    message = "loss became nan in epoch 1 of phase 'head' at a learning rate of 0.1; lower the learning rate"
    with pytest.raises(FloatingPointError, match=message):
        train(
            "head",
            make_model(batch_norm=True),
            Batches(SameInputs(task[0]), task[1], None, 16, (0,)),
            Plan(3, keras.optimizers.SGD(0.1)),
        )


def test_the_steps_of_a_head_divide_the_epoch():
    assert [largest_divisor(number, 8) for number in (1, 7, 8, 9, 11, 12, 24)] == [1, 7, 8, 3, 1, 6, 8]


@pytest.mark.slow
def test_an_epoch_of_many_steps_is_a_whole_one(task, monkeypatch):
    features, targets = task
    weights = []
    for limit in (256, 4, 1):  # 20 batches of 2: all at once, 4 at a time, one by one
        monkeypatch.setattr("skcnn.training._loop.MAX_STEPS_AT_ONCE", limit)
        model = make_model()
        batches = Batches(SameInputs(features), targets, None, 2, (0,))
        records = train("head", model, batches, Plan(2, keras.optimizers.Adam(0.01))).history
        weights.append([*model.head.get_weights(), np.array([record["loss"] for record in records])])
    for others in weights[1:]:
        for ours, theirs in zip(others, weights[0], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_steps_of_a_large_head_are_taken_one_by_one(task, monkeypatch):
    model = make_model()
    for limit, steps in ((model.head.count_params(), 3), (model.head.count_params() - 1, 1)):
        monkeypatch.setattr("skcnn.training._loop.MAX_WEIGHTS_AT_ONCE", limit)
        train(
            "head",
            model,
            Batches(SameInputs(task[0]), task[1], None, 16, (0,)),
            Plan(1, keras.optimizers.SGD(0.1)),
        )
        assert model.steps_per_execution == steps


def test_batches_are_fed_without_a_tuner_that_would_sleep(task):
    batches = Batches(SameInputs(task[0]), task[1], np.ones(40, np.float32), 16, (0,))
    dataset = feed(batches, 0, 2, [])
    assert dataset.options().autotune.enabled is False
    fed = list(dataset.as_numpy_iterator())
    assert [len(rows) for rows, _, _ in fed] == [16, 16, 8] * 2
    for ours, expected in zip(fed, batches.epochs(2), strict=True):
        for one, other in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_error_in_reading_a_batch_is_raised_as_it_is(task):
    class Unreadable(SameInputs):
        def read(self, epoch, order, batch_size):
            if epoch:
                raise ImageReadError("the third image has gone")
            yield from super().read(epoch, order, batch_size)

    batches = Batches(Unreadable(task[0]), task[1], None, 16, (0,))
    with pytest.raises(ImageReadError, match="the third image has gone"):
        train("head", make_model(), batches, Plan(3, keras.optimizers.SGD(0.1)))


def test_images_held_out_are_judged_after_each_epoch_and_change_nothing(task):
    features, targets = task
    batches, held_out = Batches(SameInputs(features[8:]), targets[8:], None, 8, (0,)), SameInputs(features[:8])
    plain, judged = make_model(), make_model()
    train("head", plain, batches, Plan(3, keras.optimizers.SGD(0.1)))
    validation = Batches(held_out, targets[:8], np.linspace(0, 1, 8, dtype=np.float32), 3, (0,))
    records = train("head", judged, batches, Plan(3, keras.optimizers.SGD(0.1)), validation=validation).history
    for one, other in zip(plain.head.get_weights(), judged.head.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    logits = judged.logits(features[:8], 8)
    assert records[-1]["val_accuracy"] == pytest.approx(np.mean(logits.argmax(1) == targets[:8].argmax(1)))
    assert [record["val_loss"] for record in records] == sorted((r["val_loss"] for r in records), reverse=True)


@pytest.mark.slow
def test_a_schedule_sets_the_rate_of_each_step(task):
    batches = Batches(SameInputs(task[0]), task[1], None, 16, (0,))
    model, twin = make_model(), make_model().head
    schedule = CosineDecay(warmup=0.25, cycles=2)
    records = train("head", model, batches, Plan(4, keras.optimizers.Adam(0.01), schedule=schedule)).history
    twin.compile(keras.optimizers.Adam(0.01), keras.losses.CategoricalCrossentropy(from_logits=True))
    rate = schedule.rate(0.01, 4, 3)
    for step, batch in enumerate(batches.epochs(4)):
        twin.optimizer.learning_rate = rate(step)
        twin.train_on_batch(*batch)
    for ours, theirs in zip(model.head.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert [record["learning_rate"] for record in records] == pytest.approx([rate(step) for step in (2, 5, 8, 11)])
    # The next training of the model begins at its own rate.
    records = train("head", model, batches, Plan(1, keras.optimizers.Adam(0.01))).history
    assert records[0]["learning_rate"] == pytest.approx(0.01)


def test_stopping_early_goes_back_to_the_best_epoch(task):
    features, targets = task
    batches = Batches(SameInputs(features), targets, None, 8, (0,))
    # The labels of the images held out are wrong, so that more training makes it worse.
    validation = Batches(SameInputs(features), np.roll(targets, 1, axis=1), None, 40, (0,))
    for monitor in ("val_loss", "val_accuracy"):
        model = make_model(dropout=0)
        plan = Plan(30, keras.optimizers.SGD(0.1), early_stopping=EarlyStopping(monitor, patience=3))
        records = train("head", model, batches, plan, validation=validation).history
        figures = [record[monitor] for record in records]
        best = int(np.argmin(figures) if monitor == "val_loss" else np.argmax(figures))
        assert len(records) == best + 1 + 3 < 30
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)(validation.targets, model.logits(features, 40))
        assert float(loss) == pytest.approx(records[best]["val_loss"], rel=1e-4)


@pytest.mark.parametrize(("epochs", "averaged"), [(8, 2), (5, 2), (1, 1)])
def test_the_weights_are_the_mean_of_the_last_quarter_of_the_epochs(task, epochs, averaged):
    batches = Batches(SameInputs(task[0]), task[1], None, 16, (0,))
    model = make_model()
    after = Snapshots(range(epochs - averaged + 1, epochs + 1))
    train("head", model, batches, Plan(epochs, keras.optimizers.Adam(0.01), average_weights=True), snapshots=after)
    assert len(after.kept) == averaged
    for weight, *each in zip(model.head.get_weights(), *(kept.head for kept in after.kept.values()), strict=True):
        np.testing.assert_allclose(weight, np.mean(each, axis=0), rtol=1e-6)


def test_snapshots_are_the_weights_at_these_epochs(task):
    batches = Batches(SameInputs(task[0]), task[1], None, 16, (0,))
    snapshots, model = Snapshots([1, 3]), make_model()
    train("head", model, batches, Plan(3, keras.optimizers.Adam(0.01)), snapshots=snapshots)
    first, last = snapshots.kept.values()
    assert [*snapshots.kept] == [1, 3]
    assert first.tail == last.tail == []
    for kept, weight in zip(last.head, model.head.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)
    assert (first.head[0] != last.head[0]).any()
