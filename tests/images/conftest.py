"""Fixtures for the tests of images: a counter of decodes."""

from __future__ import annotations

import pytest

from skcnn.images import _sequence, decode_image


@pytest.fixture
def decodes(monkeypatch):
    """Return the list that grows by one with every image an ImageSequence decodes."""
    seen = []

    def count(data, **options):
        seen.append(options)
        return decode_image(data, **options)

    monkeypatch.setattr(_sequence, "decode_image", count)
    return seen
