from skcnn._progress import progress_bar


def test_a_bar_on_request(capsys):
    with progress_bar(3, description="counting", unit="sheep", verbose=1) as bar:
        bar.update(3)
    printed = capsys.readouterr().err
    assert "counting: 100%" in printed
    assert "3/3" in printed
    assert "sheep/s" in printed


def test_silence_otherwise(capsys):
    with progress_bar(3, description="counting") as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", "")
