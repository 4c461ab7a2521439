"""The labels of the 1,000 classes of ImageNet."""

from __future__ import annotations

import functools
from importlib import resources


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """Return the labels in the order of the outputs of published networks.

    Each is the first name of its WordNet synset. Of two names that stand for two classes each, one is told apart by a
    word in brackets ("crane (bird)"), one by its other name ("tank suit" beside "maillot").
    """
    return tuple(resources.files("skcnn.backbones").joinpath("imagenet_classes.txt").read_text("utf-8").splitlines())
