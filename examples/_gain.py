"""What a classifier gains over a simpler one, and what each point costs."""

import time
from typing import NamedTuple

from sklearn.metrics import accuracy_score


class Measured(NamedTuple):
    """Accuracy on the held-out images, and the seconds of training and of predicting them."""

    accuracy: float
    training: float
    prediction: float


def measure(clf, X_train, X_test, y_train, y_test) -> Measured:
    """Fit a classifier and predict the held-out images."""
    start = time.perf_counter()
    clf.fit(X_train, y_train)
    fitted = time.perf_counter()
    guesses = clf.predict(X_test)
    predicted = time.perf_counter()
    return Measured(accuracy_score(y_test, guesses), fitted - start, predicted - fitted)


def print_gain(name: str, measured: Measured, baseline: Measured) -> None:
    """Print the gain over the baseline, and by how much it rises with each second that is spent in addition."""
    gain = 100 * (measured.accuracy - baseline.accuracy)
    print(f"{name}: held-out accuracy {measured.accuracy:.4f}, {gain:+.2f} points")
    for phase in ("training", "prediction"):
        seconds, least = getattr(measured, phase), getattr(baseline, phase)
        # Less than 5 % is within the noise of the clock.
        is_longer = seconds > 1.05 * least
        rate = f", {gain / (seconds - least):+.3f} points per extra second" if is_longer else ""
        print(f"  {phase:10} {seconds:6.1f} s{rate}", flush=True)
