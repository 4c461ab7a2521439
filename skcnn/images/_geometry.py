"""Where pixels go: pure arithmetic on sizes and boxes."""

from __future__ import annotations

from typing import NamedTuple

# No photograph or panorama is this many times longer than what is cut out of it.
MAX_LENGTH_RATIO = 8


class Box(NamedTuple):
    """A rectangle inside an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


def covering_size(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest size of the same aspect ratio that covers `target`.

    The side that is shorter in proportion becomes exactly the target's; the other is rounded to the nearest pixel.

    Parameters
    ----------
    size, target : (int, int)
        Height and width, at least 1.

    Examples
    --------
    >>> covering_size((400, 600), (200, 200))
    (200, 300)
    >>> covering_size((50, 100), (224, 224))
    (224, 448)
    """
    (height, width), (target_height, target_width) = size, target
    # Cross-multiplied, so that no rounding of a float scale can leave a side one pixel short.
    if target_height * width >= target_width * height:
        return target_height, max(target_width, (2 * width * target_height + height) // (2 * height))
    return max(target_height, (2 * height * target_width + width) // (2 * width)), target_width


def centre_box(size: tuple[int, int], target: tuple[int, int]) -> Box:
    """Return the box of `target` size in the middle of an image of `size`; an odd pixel is left below or right.

    Examples
    --------
    >>> centre_box((200, 301), (200, 200))
    Box(top=0, left=50, height=200, width=200)
    """
    (height, width), (target_height, target_width) = size, target
    return Box((height - target_height) // 2, (width - target_width) // 2, target_height, target_width)


def corner_boxes(size: tuple[int, int], target: tuple[int, int]) -> tuple[Box, ...]:
    """Return the boxes of `target` size in the four corners of an image of `size`: top left and right, then bottom.

    Examples
    --------
    >>> corner_boxes((256, 300), (224, 224))[3]
    Box(top=32, left=76, height=224, width=224)
    """
    (height, width), (target_height, target_width) = size, target
    tops, lefts = (0, height - target_height), (0, width - target_width)
    return tuple(Box(top, left, target_height, target_width) for top in tops for left in lefts)


def limit_aspect_ratio(size: tuple[int, int], target: tuple[int, int]) -> Box:
    """Return the middle of an image that is far too long for `target`; the whole of any other.

    What is cut off would be cut off after resizing as well; but a strip of 10 x 100,000 pixels, a file of a few
    kilobytes, would be 224 x 2,240,000 by then.

    Examples
    --------
    >>> limit_aspect_ratio((10, 100_000), (224, 224))
    Box(top=0, left=49960, height=10, width=80)
    >>> limit_aspect_ratio((400, 600), (224, 224))
    Box(top=0, left=0, height=400, width=600)
    """
    sides = []
    for side, other, target_side, target_other in zip(size, size[::-1], target, target[::-1], strict=True):
        longest = MAX_LENGTH_RATIO * -(-other * target_side // target_other)
        # An even number of pixels goes, so that the centre stays where it is.
        sides.append(min(side, longest + (side - longest) % 2))
    return centre_box(size, (sides[0], sides[1]))
