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


def test_an_answer_with_a_flipped_bit_is_unknown(tmp_path):
    JsonMemo(tmp_path).put(QUESTION, ["conv1", True])
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        # Blanks between the items may turn into other blanks.
        assert JsonMemo(tmp_path).get(QUESTION) in (None, ["conv1", True])


def test_an_answer_to_another_question_is_unknown(tmp_path):
    JsonMemo(tmp_path).put(QUESTION, 1)
    (file,) = tmp_path.iterdir()
    JsonMemo(tmp_path).put({"another": 1}, 2)
    (other,) = set(tmp_path.iterdir()) - {file}
    file.write_bytes(other.read_bytes())
    assert JsonMemo(tmp_path).get(QUESTION) is None


def test_without_a_directory_answers_are_kept_in_memory():
    memo = JsonMemo(None)
    memo.put(QUESTION, 1)
    assert memo.get(QUESTION) == 1


def test_a_directory_that_cannot_be_written_costs_the_file_only(tmp_path):
    (tmp_path / "file").write_text("in the way")
    memo = JsonMemo(tmp_path / "file")
    memo.put(QUESTION, 1)
    assert memo.get(QUESTION) == 1
