"""Arguments of `keras.Model.fit`, and the parameters of skcnn that do the same."""

from __future__ import annotations

from collections.abc import Iterable

HELD_OUT = "hold images out by validation_fraction=0.2 of the classifier; validation_indices_ says which they were"
INSTEAD = {
    "validation_data": HELD_OUT,
    "validation_split": HELD_OUT,
    "epochs": "it is a parameter of the classifier: FineTunedCNNClassifier(epochs=20)",
    "batch_size": "it is a parameter of the classifier: FineTunedCNNClassifier(batch_size=32)",
    "verbose": "it is a parameter of the classifier: FineTunedCNNClassifier(verbose=1)",
    "class_weight": "it is a parameter of the classifier: FineTunedCNNClassifier(class_weight='balanced')",
    "callbacks": "early_stopping, schedule, average_weights and checkpoint_dir of the classifier do what most are for",
    "shuffle": "images come in another order in each epoch, drawn from random_state",
    "initial_epoch": "warm_start=True goes on from the fit before",
}


def refuse_keras_arguments(arguments: Iterable[str]) -> None:
    """Refuse arguments of `fit` that are none of scikit-learn.

    Raises
    ------
    TypeError
        Saying what to do instead, where there is something.
    """
    for name in arguments:
        hint = f"; {INSTEAD[name]}" if name in INSTEAD else "; it takes X, y and sample_weight"
        raise TypeError(f"fit() got an unexpected keyword argument {name!r}{hint}")
