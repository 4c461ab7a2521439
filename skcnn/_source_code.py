"""What a user's own class or function computes, as far as its code says: part of the fingerprints it takes part in."""

from __future__ import annotations

import inspect
import types
from typing import Any

__all__ = ["source_of"]

PLAIN = (bool, int, float, str, bytes, type(None))


def source_of(code: Any) -> str:
    """Return the source of a class or function, with the plain values it finds around itself.

    Parameters
    ----------
    code : type or function
        Of a function, defaults, closure and those globals it names which are plain values count, too.

    Raises
    ------
    ValueError
        When the source cannot be read, as of what was typed at a prompt.
    """
    try:
        source = inspect.getsource(code)
    except (OSError, TypeError) as error:
        msg = (
            f"the source of {code.__qualname__} cannot be read, so what it computes cannot be told from what another "
            "version computes; define it in a file"
        )
        raise ValueError(msg) from error
    functions = [code] if isinstance(code, types.FunctionType) else methods_of(code)
    return "\n".join([code.__module__, code.__qualname__, source, *(surroundings(function) for function in functions)])


def methods_of(code: type) -> list[types.FunctionType]:
    """Return the functions that a class defines itself."""
    return [value for _, value in sorted(vars(code).items()) if isinstance(value, types.FunctionType)]


def surroundings(function: types.FunctionType) -> str:
    """Return the values a function uses that are not in its source."""
    closure = [cell.cell_contents for cell in function.__closure__ or () if isinstance(contents(cell), PLAIN)]
    found = {name: function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__}
    plain = {name: value for name, value in found.items() if isinstance(value, PLAIN)}
    # Of two classes of one name in one file, inspect finds the source of either.
    code = function.__code__.co_code.hex(), [value for value in function.__code__.co_consts if isinstance(value, PLAIN)]
    return repr((function.__defaults__, function.__kwdefaults__, closure, plain, code))


def contents(cell: Any) -> Any:
    """Return what a closure's cell holds; an object that is no plain value where it is still empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return cell
