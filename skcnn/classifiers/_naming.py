"""Say in the message of an error which part of a fit it is about."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from skcnn.exceptions import ImageReadError


@contextlib.contextmanager
def naming(title: str) -> Iterator[None]:
    """Put a title, such as that of a member, in front of the message of an error; type and attributes stay.

    Errors of unreadable images, which name those, stay as they are.
    """
    try:
        yield
    except ImageReadError:
        raise
    except Exception as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (f"{title}: {error.args[0]}", *error.args[1:])
        raise
