"""Arguments of `keras.Model.fit`, and the parameters of skcnn that do the same."""

from __future__ import annotations

from collections.abc import Iterable

INSTEAD = {
    "validation_split": "hold images out by validation_fraction=0.2 of the classifier, or give validation_data=(X, y)",
    "epochs": "it is a parameter of the classifier: FineTunedCNNClassifier(epochs=20)",
    "batch_size": "it is a parameter of the classifier: FineTunedCNNClassifier(batch_size=32)",
    "verbose": "it is a parameter of the classifier: FineTunedCNNClassifier(verbose=1)",
    "class_weight": "it is a parameter of the classifier: FineTunedCNNClassifier(class_weight='balanced')",
    "callbacks": "it is a parameter of the classifier: FineTunedCNNClassifier(callbacks=[...])",
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
        hint = f"; {INSTEAD[name]}" if name in INSTEAD else "; it takes X, y, sample_weight and validation_data"
        raise TypeError(f"fit() got an unexpected keyword argument {name!r}{hint}")
