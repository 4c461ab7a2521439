import keras
import numpy as np
import pytest

from skcnn.exceptions import ImageReadError
from skcnn.training import Batches, build_head
from skcnn.training._model import TailAndHead
from skcnn.training._phase import feed, largest_divisor, train
from skcnn.training._rows import SameRows


@pytest.fixture
def task():
    """Features of three classes, and their targets."""
    rng = np.random.default_rng(0)
    codes = np.arange(40) % 3
    features = (rng.normal(size=(40, 5)) + 3 * rng.normal(size=(3, 5))[codes]).astype(np.float32)
    return features, np.eye(3, dtype=np.float32)[codes]


def make_model(dropout=0.3):
    return TailAndHead(None, build_head(5, 3, hidden_units=8, dropout=dropout, batch_norm=True, l2=0.0, seed=(0,)))


def test_training_is_keras_training_in_the_same_order(task):
    features, targets = task
    batches = Batches(SameRows(features), targets, np.linspace(0, 2, 40, dtype=np.float32), batch_size=16, seed=(3,))
    model, twin = make_model(), make_model().head
    train("head", model, batches, epochs=3, optimizer=keras.optimizers.Adam(0.01), label_smoothing=0.1)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    twin.compile(keras.optimizers.Adam(0.01), loss)
    for batch in batches.epochs(3):
        twin.train_on_batch(*batch)
    for ours, theirs in zip(model.head.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_record_for_each_epoch(task):
    records = train(
        "head",
        make_model(),
        Batches(SameRows(task[0]), task[1], None, 16, (0,)),
        epochs=4,
        optimizer=keras.optimizers.SGD(0.125),
    )
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert {record["phase"] for record in records} == {"head"}
    assert {record["learning_rate"] for record in records} == {0.125}
    assert records[-1]["loss"] < records[0]["loss"]
    assert 0 <= records[0]["accuracy"] <= records[-1]["accuracy"] <= 1
    assert all(record["seconds"] > 0 for record in records)


def test_a_progress_bar_on_request(task, capsys):
    settings = {"epochs": 2, "optimizer": keras.optimizers.SGD(0.1)}
    train("fine-tune", make_model(), Batches(SameRows(task[0]), task[1], None, 16, (0,)), **settings)
    assert capsys.readouterr() == ("", "")
    settings["optimizer"] = keras.optimizers.SGD(0.1)
    train("fine-tune", make_model(), Batches(SameRows(task[0]), task[1], None, 16, (0,)), **settings, verbose=1)
    shown = capsys.readouterr().err
    assert "fine-tune: 100%" in shown
    assert "2/2" in shown
    assert "loss=" in shown


def test_a_loss_that_is_no_number_ends_training(task):
    features = task[0]
    features[3, 0] = np.nan
    message = "loss became nan in epoch 1 of phase 'head' at a learning rate of 0.1; lower the learning rate"
    with pytest.raises(FloatingPointError, match=message):
        train(
            "head",
            make_model(),
            Batches(SameRows(task[0]), task[1], None, 16, (0,)),
            epochs=3,
            optimizer=keras.optimizers.SGD(0.1),
        )


def test_the_steps_of_a_head_divide_the_epoch():
    assert [largest_divisor(number, 8) for number in (1, 7, 8, 9, 11, 12, 24)] == [1, 7, 8, 3, 1, 6, 8]


def test_an_epoch_of_many_steps_is_a_whole_one(task, monkeypatch):
    features, targets = task
    weights = []
    for limit in (256, 4, 1):  # 20 batches of 2: all at once, 4 at a time, one by one
        monkeypatch.setattr("skcnn.training._phase.MAX_STEPS_AT_ONCE", limit)
        model = make_model()
        batches = Batches(SameRows(features), targets, None, 2, (0,))
        records = train("head", model, batches, epochs=2, optimizer=keras.optimizers.Adam(0.01))
        weights.append([*model.head.get_weights(), np.array([record["loss"] for record in records])])
    for others in weights[1:]:
        for ours, theirs in zip(others, weights[0], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_steps_of_a_large_head_are_taken_one_by_one(task, monkeypatch):
    model = make_model()
    for limit, steps in ((model.head.count_params(), 3), (model.head.count_params() - 1, 1)):
        monkeypatch.setattr("skcnn.training._phase.MAX_WEIGHTS_AT_ONCE", limit)
        train(
            "head",
            model,
            Batches(SameRows(task[0]), task[1], None, 16, (0,)),
            epochs=1,
            optimizer=keras.optimizers.SGD(0.1),
        )
        assert model.steps_per_execution == steps


def test_batches_are_fed_without_a_tuner_that_would_sleep(task):
    batches = Batches(SameRows(task[0]), task[1], np.ones(40, np.float32), 16, (0,))
    dataset = feed(batches, 2, [])
    assert dataset.options().autotune.enabled is False
    fed = list(dataset.as_numpy_iterator())
    assert [len(rows) for rows, _, _ in fed] == [16, 16, 8] * 2
    for ours, expected in zip(fed, batches.epochs(2), strict=True):
        for one, other in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_error_in_reading_a_batch_is_raised_as_it_is(task):
    class Unreadable(SameRows):
        def read(self, epoch, order, batch_size):
            if epoch:
                raise ImageReadError("the third image has gone")
            yield from super().read(epoch, order, batch_size)

    batches = Batches(Unreadable(task[0]), task[1], None, 16, (0,))
    with pytest.raises(ImageReadError, match="the third image has gone"):
        train("head", make_model(), batches, epochs=3, optimizer=keras.optimizers.SGD(0.1))
