"""Values as JSON takes them: NumPy's numbers become Python's, in containers of any depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a value with Python's numbers and booleans in place of NumPy's, lists in place of arrays.

    Dicts, lists and tuples are looked into, the keys of dicts too; whatever else there is stays as it is.

    Examples
    --------
    >>> import numpy as np
    >>> plain({np.int64(3): [np.float32(0.5), np.bool_(True)], "mean": np.zeros(2)})
    {3: [0.5, True], 'mean': [0.0, 0.0]}
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value
