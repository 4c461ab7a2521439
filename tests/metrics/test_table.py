import numpy as np
import pytest

from skcnn.metrics import ScoreTable


@pytest.fixture
def table():
    return ScoreTable(
        np.array(["all", "cat"], object),
        {"images": [100, 7], "accuracy": [0.5, 1.0], "taken for": np.array(["", "a dog"], object)},
    )


def test_it_reads_as_text(table):
    assert str(table) == ("     images  accuracy  taken for\nall     100    0.5000\ncat       7    1.0000  a dog")
    assert repr(table) == str(table)


def test_rows_and_columns(table):
    assert table.rows == ["all", "cat"]
    assert len(table) == 2
    np.testing.assert_array_equal(table["images"], [100, 7])
    assert table.row("cat") == {"images": 7, "accuracy": 1.0, "taken for": "a dog"}
    assert type(table.row("cat")["images"]) is int
    assert ScoreTable(np.array([3, 4]), {"n": [1, 2]}).row(4) == {"n": 2}
    with pytest.raises(ValueError, match="is not in list"):
        table.row("dog")
    with pytest.raises(KeyError):
        table["price"]


def test_a_data_frame(table):
    frame = table.to_frame()
    assert list(frame.index) == ["all", "cat"]
    assert frame.loc["cat", "taken for"] == "a dog"
    assert frame["images"].dtype.kind == "i"


def test_columns_of_another_length():
    with pytest.raises(ValueError, match=r"the column 'n' has shape \(3,\), but there are 2 rows"):
        ScoreTable(["a", "b"], {"n": [1, 2, 3]})
