import json

import numpy as np

from skcnn._plain import plain


def test_numbers_of_numpy_become_those_of_python_at_any_depth():
    value = {
        np.int64(3): [np.float32(0.5), (np.bool_(True), {"deep": np.arange(4).reshape(2, 2)})],
        "name": np.str_("a"),
    }
    assert json.dumps(plain(value)) == '{"3": [0.5, [true, {"deep": [[0, 1], [2, 3]]}]], "name": "a"}'


def test_other_values_stay_as_they_are():
    value = object()
    assert plain(value) is value
    assert plain([value])[0] is value
    assert plain(True) is True
    assert plain(np.True_) is True
