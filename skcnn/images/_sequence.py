"""`ImageSequence`: many images as one array-like that holds no pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from skcnn._parallel import available_threads, bounded_map
from skcnn._validation import check_choice
from skcnn.cache._digests import DigestMemo
from skcnn.cache._json_memo import JsonMemo
from skcnn.exceptions import ImageReadError
from skcnn.images._decode import MAX_PIXELS, decode_image
from skcnn.images._failures import memory_errors_explained, unreadable_error
from skcnn.images._measured import describe_decoder
from skcnn.images._sources import Content, Sources
from skcnn.images._steps import Step, ToGrey, ViewStep, describe_steps
from skcnn.images._views import ViewPicks, apply_step, positions_of

DECODES = ("fast", "exact")
ON_ERROR = ("raise", "nan")


class ImageSequence:
    """An immutable, lazy sequence of images: sources, and the steps that each image goes through when it is read.

    It indexes like a one-dimensional array. An integer decodes one image; a slice, a list, a mask or an index array
    gives another `ImageSequence` without touching a pixel, which is all that cross-validation asks of its data.

    Parameters
    ----------
    sources : Sources
        Where the images are; `skcnn.images.as_image_sequence` makes them from anything.
    steps : tuple of Step, default=()
        What happens to each image after decoding, in order.
    decode : {"fast", "exact"}, default="fast"
        "fast" decodes a JPEG at the smallest of the scales 1/8, 1/4 and 1/2 that is still at least 1.5 times as large
        as the first step would reduce it, where that is a `ResizeCrop` by area or an augmentation. "exact" decodes all
        pixels.
    max_pixels : int, default=178_956_970
        Images that announce more pixels are refused before they are decoded.
    on_error : {"raise", "nan"}, default="raise"
        What reading an unreadable image gives: an error, or, where the steps fix the size, an image of NaN.
    picks : ViewPicks, default=None
        Where a step makes several views of each image: the one of them that each item is. None makes each image an item
        that has all its views.
    source_index : pandas.Index of n_sources labels, default=None
        What the table that the images came from calls its rows.

    Attributes
    ----------
    index : pandas.Index or None
        The label of each item's row in the table that the images came from. Features keep it as they leave as pandas.
    shape : tuple (n_images,)
        Where views of one image are items of their own, these are counted.
    ndim : int
        1.
    n_views : int
        How many images the steps make of each.

    Examples
    --------
    >>> import numpy as np
    >>> from skcnn.images import FlipHorizontal, as_image_sequence
    >>> images = as_image_sequence([np.arange(6, dtype=np.uint8).reshape(1, 2, 3)] * 4)
    >>> images.with_step(FlipHorizontal())[1:3]
    ImageSequence of 2 images (<array of shape (1, 2, 3)>, ...), steps: FlipHorizontal()
    >>> images.with_step(FlipHorizontal())[0].tolist()
    [[[3, 4, 5], [0, 1, 2]]]
    """

    def __init__(
        self,
        sources: Sources,
        steps: Iterable[Step] = (),
        *,
        decode: str = "fast",
        max_pixels: int = MAX_PIXELS,
        on_error: str = "raise",
        picks: ViewPicks | None = None,
        source_index: Any = None,
    ):
        check_choice("decode", decode, DECODES)
        check_choice("on_error", on_error, ON_ERROR)
        self.sources = sources
        self.steps = tuple(steps)
        self.decode_mode = decode
        self.max_pixels = max_pixels
        self.on_error = on_error
        self._source_index = source_index
        several = [step for step in self.steps if step.n_views != 1]
        if len(several) > 1:
            raise ValueError(f"only one step may make several views of an image. Got {several[0]} and {several[1]}.")
        self.n_views = several[0].n_views if several else 1
        if self.n_views < 1:
            raise ValueError(f"{several[0]} makes {self.n_views} views of an image; expected at least 1")
        self.picks = picks if self.n_views > 1 else None

    @property
    def shape(self) -> tuple[int]:
        """(n_images,), as of a one-dimensional array."""
        return (len(self),)

    @property
    def ndim(self) -> int:
        """1, as of a one-dimensional array."""
        return 1

    @property
    def index(self) -> Any:
        """The label of each item's row in the table that the images came from, or None."""
        if self._source_index is None or self.picks is None:
            return self._source_index
        return self._source_index[self.picks.positions]

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) that every image has after the steps; None where the steps do not fix it."""
        size = self.sources.image_size
        for step in self.steps:
            size = step.output_size(size)
        return size

    def __len__(self) -> int:
        return len(self.sources if self.picks is None else self.picks.positions)

    def __getitem__(self, key: Any) -> Any:
        # scikit-learn indexes by array[indices, ...].
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:
            key = key[0]
        if isinstance(key, (int, np.integer)):
            return self._read_one(range(len(self))[key])
        taken = positions_of(key, len(self))
        if self.picks is None:
            return self._take(taken)
        positions, picks = self.picks.take(taken)
        return self._take(positions, picks=picks)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Decode every image into one array of shape (n_images, height, width, channels).

        Where each item has several views: (n_images, n_views, height, width, channels).
        """
        if copy is False:
            raise ValueError("an ImageSequence holds no pixels: making an array of it always decodes")
        images = self.load()
        shapes = {image.shape for image in images}
        if len(shapes) > 1:
            msg = (
                f"the images have {len(shapes)} different shapes, such as {min(shapes)} and {max(shapes)}, "
                "and do not fit in one array; give them one size with skcnn.AspectAwareResize"
            )
            raise ValueError(msg)
        return np.asarray(images, dtype)

    def __repr__(self) -> str:
        count = f"{len(self)} image" + "s" * (len(self) != 1)
        first = f" ({self.name(0)}{', ...' if len(self) > 1 else ''})" if len(self) else ""
        steps = ", ".join(map(repr, self.steps)) or "none"
        return f"ImageSequence of {count}{first}, steps: {steps}{self._describe_picks()}"

    def name(self, index: int) -> str:
        """Return the name of one image in messages: its path, or its kind of data."""
        return self.sources.name(self._row(index))

    def with_step(self, step: Step) -> ImageSequence:
        """Return a sequence whose images go through one more step."""
        return self._with(steps=(*self.steps, step))

    def without_last_step(self) -> ImageSequence:
        """Return a sequence whose images skip the last step."""
        images = self.with_view(None) if self.steps and self.steps[-1].n_views != 1 else self
        return images._with(steps=self.steps[:-1])

    def with_view(self, view: int | None) -> ImageSequence:
        """Return a sequence of which one view of each image is read, or all of them.

        What is stored of an image holds all its views, so another choice finds it.

        Parameters
        ----------
        view : int or None
            In [0, n_views).

        Raises
        ------
        IndexError
            When there is no such view.
        """
        positions = np.arange(len(self)) if self.picks is None else self.picks.positions
        if view is None:
            return self if self.picks is None else self._take(positions, picks=None)
        return self.with_views_together().pick_views(positions, np.full(len(positions), view))

    def pick_views(self, positions: np.ndarray, views: np.ndarray) -> ImageSequence:
        """Return a sequence of single views, of any images in any order.

        Parameters
        ----------
        positions : ndarray of shape (n_picked,), int
            Of the image that each is a view of.
        views : ndarray of shape (n_picked,), int
            Which of its views, in [0, n_views).

        Raises
        ------
        IndexError
            When there is no such view.
        """
        wrong = np.flatnonzero((views < 0) | (views >= self.n_views))
        if len(wrong):
            raise IndexError(f"there is no view {views[wrong[0]]} of these images; they have {self.n_views}")
        return self._with(picks=ViewPicks(positions, views))

    def with_views_apart(self) -> ImageSequence:
        """Return a sequence in which each view is an image of its own: n_images x n_views images.

        The views of one image follow each other. Reading or extracting them decodes the image once.

        Examples
        --------
        >>> from skcnn.images import ResizeCrop, TenCrop, as_image_sequence
        >>> images = as_image_sequence(["cat.jpg", "dog.jpg"]).with_step(ResizeCrop(256, 256))
        >>> len(images.with_step(TenCrop(224, 224)).with_views_apart())
        20
        """
        images = self.with_view(None)
        return images._with(picks=ViewPicks.of_all(len(images), images.n_views))

    def with_views_together(self) -> ImageSequence:
        """Return the images that the views of this sequence are of, each once and with all its views."""
        return self if self.picks is None else self._with(picks=None)

    def with_on_error(self, on_error: str) -> ImageSequence:
        """Return a sequence that treats unreadable images by another rule."""
        return self._with(on_error=on_error)

    def with_decode(self, decode: str) -> ImageSequence:
        """Return a sequence that decodes as "fast" or "exact"."""
        return self._with(decode=decode)

    def load(self) -> list[np.ndarray]:
        """Decode every image, in threads.

        Returns
        -------
        list of ndarray of shape (height, width, channels), uint8 or float32
            (n_views, height, width, channels) where there are several and none is chosen.

        Raises
        ------
        ImageReadError
            Naming every image that cannot be read.
        """
        loaded = list(self.stream())
        failures = {self._row(i): str(image) for i, image in enumerate(loaded) if isinstance(image, ImageReadError)}
        return [self._blank(failures) if isinstance(image, ImageReadError) else image for image in loaded]

    def stream(self, ahead: int = 0) -> Iterator[np.ndarray | ImageReadError]:
        """Decode one image after the other, in threads; an unreadable one is yielded as its error.

        Parameters
        ----------
        ahead : int, default=0
            How many images are decoded ahead, at least; a few for each thread always are.
        """
        threads = available_threads()

        def load(items: range) -> Iterable[np.ndarray | ImageReadError]:
            try:
                content = self.read(items[0])
                if self.picks is None:
                    return [self.decode(content)]
                return list(self._make_views(content, self.picks.views[items.start : items.stop].tolist()))
            except ImageReadError as error:
                return [error] * len(items)

        runs = (range(i, i + 1) for i in range(len(self))) if self.picks is None else self.picks.runs()
        for loaded in bounded_map(load, runs, n_threads=threads, window=max(ahead, 4 * threads)):
            yield from loaded

    @memory_errors_explained()
    def read(self, index: int, memo: DigestMemo | None = None) -> Content:
        """Read the source of one image, without decoding it."""
        return self.sources.read(self._row(index), memo)

    @memory_errors_explained()
    def decode(self, content: Content, view: int | None = None) -> np.ndarray:
        """Decode content and take it through the steps.

        Parameters
        ----------
        content : Content
        view : int, default=None
            Which view to make, where a step makes several; None makes all.

        Returns
        -------
        ndarray of shape (height, width, 1 | 3), uint8 or float32
            (n_views, height, width, 1 | 3) where there are several views and none is chosen.

        Raises
        ------
        ImageReadError
            When the data is damaged, a step does not fit the image, or memory runs out.
        """
        if self.n_views == 1 or view is not None:
            return next(self._make_views(content, [view or 0]))
        views = list(self._make_views(content, range(self.n_views)))
        shapes = {view.shape for view in views}
        if len(shapes) > 1:
            raise ImageReadError(f"its views have different shapes, such as {min(shapes)} and {max(shapes)}")
        return np.stack(views)

    def _make_views(self, content: Content, views: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield some views of an image; the steps that they share are applied once."""
        image = content.data
        if isinstance(image, bytes):
            image = decode_image(image, max_pixels=self.max_pixels, at_least=self._smallest_decode())
        is_view_step = [isinstance(step, ViewStep) for step in self.steps]
        n_shared = is_view_step.index(True) if any(is_view_step) else len(self.steps)
        for step in self.steps[:n_shared]:
            image = apply_step(step, image)
        for view in views:
            made = image
            for position, step in enumerate(self.steps[n_shared:]):
                made = apply_step(step, made, view, (position, content.digest))
            yield made

    def describe(self, memo: JsonMemo | None = None) -> dict[str, Any]:
        """Return everything that decides the pixels of an image besides its source, as JSON types.

        Parameters
        ----------
        memo : JsonMemo, default=None
            Spares decoding a few small images to learn how the installed libraries decode and resize.

        Raises
        ------
        UnknownCodeError
            When it cannot be told what a step of the user's own does.
        """
        return {"steps": describe_steps(self.steps), "decode": {"mode": self.decode_mode, **describe_decoder(memo)}}

    def _smallest_decode(self) -> tuple[int, int] | None:
        """Return the size a fast decode must not fall below; None where all pixels are decoded."""
        return self.steps[0].sufficient_size() if self.steps and self.decode_mode == "fast" else None

    def _read_one(self, index: int) -> np.ndarray:
        try:
            return self.decode(self.read(index), None if self.picks is None else int(self.picks.views[index]))
        except ImageReadError as error:
            return self._blank({self._row(index): str(error)}, error)

    def _row(self, index: int) -> int:
        """Return the position in the sources of one item."""
        return index if self.picks is None else int(self.picks.positions[index])

    def _describe_picks(self) -> str:
        if self.picks is None:
            return ""
        views = np.unique(self.picks.views)
        if len(views) == 1:
            return f", view {views[0]} of {self.n_views}"
        return f", each of them one of {self.n_views} views"

    def _blank(self, failures: dict[int, str], cause: Exception | None = None) -> np.ndarray:
        """Return an image of NaN for an unreadable one, or raise, as `on_error` says."""
        if self.on_error == "raise" or self.image_size is None:
            raise unreadable_error(self.with_views_together(), failures) from cause
        channels = 1 if ToGrey() in self.steps else self.sources.channels
        views = (self.n_views,) if self.n_views > 1 and self.picks is None else ()
        return np.full((*views, *self.image_size, channels), np.nan, np.float32)

    def _take(self, positions: np.ndarray | slice, **changes: Any) -> ImageSequence:
        index = None if self._source_index is None else self._source_index[positions]
        return self._with(sources=self.sources.take(positions), source_index=index, **changes)

    def _with(self, **changes: Any) -> ImageSequence:
        settings = {
            "sources": self.sources,
            "steps": self.steps,
            "decode": self.decode_mode,
            "max_pixels": self.max_pixels,
            "on_error": self.on_error,
            "picks": self.picks,
            "source_index": self._source_index,
        }
        return ImageSequence(**{**settings, **changes})
