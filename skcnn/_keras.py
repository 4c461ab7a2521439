"""Keras and TensorFlow; whoever needs one of them imports it from here, when it is needed.

TensorFlow writes ten lines about itself when it starts (instructions of the processor, no graphics card), which mean
nothing to a user and hide what does. They are left out, unless ``TF_CPP_MIN_LOG_LEVEL`` is set: then the user decides.

TensorFlow uses the convolutions of oneDNN by itself only on x86 processors that have certain instructions. Training was
faster with them on another one too (benchmarks/bench_onednn.py), so they are used on all, unless
``TF_ENABLE_ONEDNN_OPTS`` is set. Both variables are read when TensorFlow is loaded; where that was before, nothing
changes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["keras", "tf"]

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# Of severity "info", and what belongs to such a line.
ANNOUNCEMENT = re.compile(rb"I\d{4} |WARNING: All log messages before absl::|To enable the following instructions:")


@contextlib.contextmanager
def without_announcements() -> Iterator[None]:
    """Hold the error stream back, and write the rest of it at the end.

    TensorFlow writes from C++ to the file behind the stream, and reads its level when it is loaded.
    """
    if LEVEL in os.environ or "tensorflow" in sys.modules:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stream = os.dup(2)
        except OSError:  # a process without an error stream
            yield
            return
        stack.callback(os.close, stream)
        kept_back = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(kept_back.fileno(), 2)
        os.environ[LEVEL] = "2"
        try:
            yield
        finally:
            del os.environ[LEVEL]
            os.dup2(stream, 2)
            kept_back.seek(0)
            for line in kept_back:
                if not ANNOUNCEMENT.match(line):
                    os.write(2, line)


@contextlib.contextmanager
def with_onednn() -> Iterator[None]:
    """Let TensorFlow, which reads the variable when it is loaded, use oneDNN on any x86 processor."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if ONEDNN in os.environ or "tensorflow" in sys.modules or not is_x86:
        yield
        return
    os.environ[ONEDNN] = "1"
    try:
        yield
    finally:
        del os.environ[ONEDNN]


with without_announcements(), with_onednn():
    import keras
    import tensorflow as tf
