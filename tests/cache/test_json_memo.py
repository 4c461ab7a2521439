import pytest

from skcnn.cache._json_memo import JsonMemo

QUESTION = {"layer": -3, "network": "tiny"}


def test_an_answer_is_known_to_this_process_and_later_ones(tmp_path):
    memo = JsonMemo(tmp_path / "layers")
    assert memo.get(QUESTION) is None
    memo.put(QUESTION, ["sum", True])
    assert memo.get(QUESTION) == JsonMemo(tmp_path / "layers").get(dict(reversed(QUESTION.items()))) == ["sum", True]
    assert memo.get({**QUESTION, "layer": 2}) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"answer"'])
def test_a_damaged_answer_is_unknown(tmp_path, text):
    memo = JsonMemo(tmp_path)
    memo.put(QUESTION, 1)
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    assert JsonMemo(tmp_path).get(QUESTION) is None


def test_a_directory_that_cannot_be_written_costs_the_file_only(tmp_path):
    (tmp_path / "file").write_text("in the way")
    memo = JsonMemo(tmp_path / "file")
    memo.put(QUESTION, 1)
    assert memo.get(QUESTION) == 1
