"""How many pixels may be decoded at a time: threads that each decode a huge image would together fill the memory."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from skcnn._locks import renew_at_fork

# Of all threads together. Decoding takes up to 28 bytes for a pixel, so this is about a gigabyte.
PIXELS_AT_ONCE = 50_000_000


class PixelBudget:
    """Lets threads decode as long as all their images together stay below a limit; a larger one is decoded alone.

    Parameters
    ----------
    limit : int
        Pixels.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.renew()
        renew_at_fork(self)

    def renew(self) -> None:
        """Release all reservations."""
        self._in_flight = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, n_pixels: int) -> Iterator[None]:
        """Wait until so many pixels more fit, and hold them."""
        changed = self._changed
        with changed:
            changed.wait_for(lambda: not self._in_flight or self._in_flight + n_pixels <= self.limit)
            self._in_flight += n_pixels
        try:
            yield
        finally:
            with changed:
                self._in_flight -= n_pixels
                changed.notify_all()


decoding = PixelBudget(PIXELS_AT_ONCE)
