"""Predictions of single images by one fine-tuned classifier from eight threads, against one thread."""

from __future__ import annotations

import threading
import time

import numpy as np
from _machine import print_machine

from skcnn import FineTunedCNNClassifier

N_IMAGES, SECONDS, REPEATS = 24, 8, 3


def ask(classifier: FineTunedCNNClassifier, pixels: np.ndarray, expected: np.ndarray, n_threads: int) -> np.ndarray:
    """Return the seconds that each prediction took, after comparing all with those of one call."""
    end, taken, answers = time.perf_counter() + SECONDS, [], []

    def work(first: int) -> None:
        index = first
        while (start := time.perf_counter()) < end:
            image = index % N_IMAGES
            answers.append((image, classifier.predict_proba(pixels[image : image + 1])[0]))
            taken.append(time.perf_counter() - start)
            index += 1

    threads = [threading.Thread(target=work, args=(first,)) for first in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for image, probabilities in answers:
        np.testing.assert_allclose(probabilities, expected[image], atol=1e-5)
    return np.array(taken)


def main() -> None:
    print("### Predictions of one image each, efficientnet_lite0 with two layers fine-tuned\n")
    print_machine()
    pixels = np.random.default_rng(0).integers(0, 256, (N_IMAGES, 224, 224, 3), dtype=np.uint8)
    classifier = FineTunedCNNClassifier(unfreeze=2, epochs=1, random_state=0)
    classifier.fit(pixels, np.arange(N_IMAGES) % 3)
    expected = classifier.predict_proba(pixels)
    print("\n| threads | calls a second | median | 99 % take at most |\n| --- | --- | --- | --- |")
    for _ in range(REPEATS):
        for n_threads in (1, 8):
            taken = ask(classifier, pixels, expected, n_threads)
            median, last = np.quantile(taken, [0.5, 0.99])
            print(f"| {n_threads} | {len(taken) / SECONDS:.0f} | {1000 * median:.0f} ms | {1000 * last:.0f} ms |")


if __name__ == "__main__":
    main()
