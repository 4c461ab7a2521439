"""Fixtures for the tests of images: a reader from the future, and a counter of decodes."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from skcnn.images import _sequence, _sources, decode_image


@pytest.fixture
def later(monkeypatch):
    """Let files be read ten seconds from now, when those of this test are no longer fresh."""
    clock = SimpleNamespace(time_ns=lambda: time.time_ns() + 10_000_000_000)
    monkeypatch.setattr(_sources, "time", clock)


@pytest.fixture
def decodes(monkeypatch):
    """Return the list that grows by one with every image an ImageSequence decodes."""
    seen = []

    def count(data, **options):
        seen.append(options)
        return decode_image(data, **options)

    monkeypatch.setattr(_sequence, "decode_image", count)
    return seen
