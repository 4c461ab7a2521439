"""`Feed`: the inputs of each phase of a training, extracted from its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skcnn._progress import say
from skcnn.cache import FeatureCache
from skcnn.cache._store import DtypeError
from skcnn.cache._units import format_bytes
from skcnn.exceptions import ImageReadError
from skcnn.features import RawPixels, StoredFeatures, Trunk, extract
from skcnn.features._extract import packed_pixels, plan_extraction
from skcnn.images._augmentation import LOOKED_AT, AugmentedViews, check_levels_of
from skcnn.images._sequence import ImageSequence
from skcnn.images._sources import ArraySources
from skcnn.training._epoch_inputs import EpochInputs, FreshViews, SameInputs, StoredViews, WarpedPixels
from skcnn.training._phase import GradientPhase, ProbePhase
from skcnn.training._problem import Split
from skcnn.training._session import Session


@dataclass(frozen=True)
class Feed:
    """The inputs of each phase of a training: features or activations of its images, or of augmented views of them.

    Parameters
    ----------
    images : ImageSequence
    cache, batch_size, engine, verbose
        As in `skcnn.features.extract`.
    augmentation : Augmentation or None, default=None
    augmented_views : int or None, default=None
        How many views of each image are stored; None makes fresh ones in each epoch.
    validation : ImageSequence or None, default=None
        Images of the user's own that are judged after each epoch.
    """

    images: ImageSequence
    cache: Any
    batch_size: int
    engine: str
    verbose: int | None
    augmentation: Any = None
    augmented_views: Any = None
    validation: ImageSequence | None = None
    _extracted: dict[tuple[int, int], StoredFeatures] = field(default_factory=dict, repr=False)

    def extract(self, trunk: Trunk) -> StoredFeatures:
        """Return the features of all images after a trunk; they are extracted once in a training."""
        return self._extract_once(self.images, trunk)

    def read_all(self, trunk: Trunk) -> None:
        """Extract the features of all images that are trained on or judged, so that unreadable ones are named."""
        self.extract(trunk)
        if self.validation is not None:
            self._extract_once(self.validation, trunk)

    def inputs(
        self, phase: ProbePhase | GradientPhase, split: Split, session: Session
    ) -> tuple[EpochInputs, EpochInputs]:
        """Return the inputs of a phase: of the images to train on, and of those that are judged."""
        if isinstance(phase, ProbePhase) or not phase.augments:
            features = self.extract(phase.trunk)
            judged = SameInputs(features, split.held_out) if self.validation is None else self._judged(phase, split)
            return SameInputs(features, split.trained), judged
        return self._augmented(self.images[split.trained], phase, session), self._judged(phase, split)

    def _judged(self, phase: ProbePhase | GradientPhase, split: Split) -> EpochInputs:
        """Return the inputs of the images that are judged after each epoch; they are never augmented."""
        if self.validation is not None:
            return SameInputs(self._extract_once(self.validation, phase.trunk))
        held_out = split.held_out
        return SameInputs(self._extract(self.images[held_out], phase.trunk) if len(held_out) else held_out)

    def announce(self, phases: Sequence[ProbePhase | GradientPhase]) -> None:
        """Say what a fit will cost before it begins, with ``verbose=1``, unless everything is in the cache."""
        if not self.verbose:
            return
        cache = FeatureCache.open(self.cache)
        fresh = 0
        judged = [] if self.validation is None else [self.validation]
        extractions = [(images, phases[0].trunk) for images in (self.images, *judged)]
        for phase in phases:
            images, trunk = self.images, phase.trunk
            if trunk is not phases[0].trunk:
                extractions += [(each, trunk) for each in judged]
            if isinstance(phase, GradientPhase) and phase.augments:
                if self.augmented_views is not None:
                    images = self._with_views(images, trunk)
                elif isinstance(trunk, RawPixels):
                    trunk = self._trunk_to_warp_from(images, trunk) or trunk
                else:
                    fresh += phase.plan.epochs * len(images)
                    continue
            if images is not self.images or trunk is not phases[0].trunk:
                extractions.append((images, trunk))
        passes = size = 0
        for images, trunk in extractions:
            if packed_pixels(images, trunk) is not None:
                continue
            settings: Any = {"batch_size": self.batch_size, "engine": self.engine}
            plan = plan_extraction(images, trunk, cache, dtype=None, verbose=0, **settings)
            more_passes, more_bytes = plan.still_to_do()
            passes += 0 if isinstance(trunk, RawPixels) else more_passes
            size += more_bytes
        costs = []
        if passes or fresh:
            during = f", and {fresh:,} while it is trained" if fresh else ""
            costs.append(f"at most {passes:,} passes through the frozen layers before training{during}")
        if cache is not None and size:
            costs.append(f"{format_bytes(size)} more in {cache.directory}")
        if costs:
            say(f"{len(self.images):,} images: {'; '.join(costs)}")

    def _augmented(self, images: ImageSequence, phase: GradientPhase, session: Session) -> EpochInputs:
        """Return the views of images that the epochs are trained on."""
        check_levels_of(images, self.augmentation)
        first_view, fresh_views = np.random.SeedSequence(session.seed).generate_state(2).tolist()
        if self.augmented_views is None:
            if isinstance(phase.trunk, RawPixels):
                warped_from = self._trunk_to_warp_from(images, phase.trunk)
                if warped_from is not None:
                    step = self.augmentation.views(1, phase.trunk.input_shape[:2])
                    return WarpedPixels(self._extract(images, warped_from), step, fresh_views)
            epochs = session.begin(phase.name) + phase.plan.epochs
            settings: Any = {"epochs": epochs, "seed": fresh_views, "engine": self.engine}
            return FreshViews(images, phase.trunk, self.augmentation, **settings)
        views = self._extract(self._with_views(images, phase.trunk), phase.trunk)
        return StoredViews(views, first_view) if self.augmented_views > 1 else SameInputs(views)

    def _trunk_to_warp_from(self, images: ImageSequence, trunk: RawPixels) -> RawPixels | None:
        """Return the pixels that are stored to make views of; None where each view is made of the image itself."""
        size = size_to_warp_from(images, self.augmentation.views(1, trunk.input_shape[:2]))
        return None if size is None else RawPixels((*size, trunk.input_shape[2]), normalises=trunk.normalises)

    def _with_views(self, images: ImageSequence, trunk: Trunk) -> ImageSequence:
        return images.with_step(self.augmentation.views(self.augmented_views, trunk.input_shape[:2]))

    def _extract_once(self, images: ImageSequence, trunk: Trunk) -> StoredFeatures:
        key = id(images), id(trunk)
        if key not in self._extracted:
            self._extracted[key] = self._extract(images, trunk)
        return self._extracted[key]

    def _extract(self, images: ImageSequence, trunk: Trunk) -> StoredFeatures:
        settings: Any = {"batch_size": self.batch_size, "engine": self.engine, "verbose": self.verbose}
        try:
            return extract(images, trunk, self.cache, **settings)
        except DtypeError:
            if not isinstance(trunk, RawPixels):
                raise
            # Pixels are kept as uint8, unless a step or the images themselves have others.
            return extract(images, trunk, self.cache, dtype="float32", **settings)


def size_to_warp_from(images: ImageSequence, views: AugmentedViews) -> tuple[int, int] | None:
    """Return the size in which images are stored to make views of; None where each view is made of the image itself.

    Images of one size are stored as they are, unless they are in memory. Of others as many pixels are stored as the
    largest zoom needs, if the first eight have as many. A crop is cut out of the image itself: it may be of any part.
    """
    if isinstance(images.sources, ArraySources) and not images.steps:
        return None
    if images.image_size is not None:
        return images.image_size
    if views.augmentation.crop is not None:
        return None
    height, width = views.needed_size()
    first = [image for image in images[:LOOKED_AT].stream() if not isinstance(image, ImageReadError)]
    is_enough = all(image.shape[0] >= height and image.shape[1] >= width for image in first)
    return (height, width) if is_enough else None
