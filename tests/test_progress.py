import io
import sys
import time

import numpy as np
import pytest
from tqdm.std import tqdm

from skcnn import _progress
from skcnn._progress import log_lines, progress_bar, say


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar(3, description="counting", unit="sheep", verbose=1) as bar:
        bar.update(3)
    printed = terminal.getvalue()
    assert "\rcounting: 100%" in printed
    assert "3/3" in printed
    assert "sheep/s" in printed


def test_silence_where_it_is_asked_for_and_by_default_of_what_is_done_soon(capsys, monkeypatch):
    for silence, verbose in ((5.0, None), (0.0, 0), (0.0, False), (0.0, np.False_)):
        monkeypatch.setattr(_progress, "SECONDS_OF_SILENCE", silence)
        with progress_bar(3, description="counting", verbose=verbose) as bar:
            bar.set_postfix_str("all well", refresh=False)
            bar.update(3)
        assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_by_default_long_work_is_shown(monkeypatch, is_terminal):
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(_progress, "SECONDS_OF_SILENCE", 0.2)
    monkeypatch.setattr(_progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress_bar(4, description="counting") as bar:
        bar.update()
        assert stream.getvalue() == ""
        time.sleep(0.25)
        bar.update()
        assert ("2/4" if is_terminal else "counting: 2 of 4 (50 %)") in stream.getvalue()
        bar.update(2)
    assert ("4/4" if is_terminal else "counting: 4 of 4 (100 %)") in stream.getvalue()


def test_a_bar_moves_while_nothing_is_finished(monkeypatch):
    """As within a long epoch."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(_progress, "SECONDS_OF_SILENCE", 0.1)
    with progress_bar(2, description="counting") as bar:
        time.sleep(0.15)
        bar.update(0)
        assert "0/2" in terminal.getvalue()


def test_what_is_said_can_be_silenced(capsys):
    for verbose in (None, 1, True, 0, False):
        say(f"verbose={verbose}", verbose)
    assert capsys.readouterr().err.splitlines() == ["verbose=None", "verbose=1", "verbose=True"]


def test_whole_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "SECONDS_BETWEEN_LINES", 0.0)
    with progress_bar(3, description="counting", unit="sheep", verbose=1) as bar:
        for count in range(3):
            bar.set_postfix({"loss": f"{count:.2f}"}, refresh=False)
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "counting: 1 of 3 (33 %)",
        "counting: 2 of 3 (67 %)",
        "counting: 3 of 3 (100 %)",
    ]
    assert all(line.endswith(f"loss={count:.2f}") for count, line in enumerate(lines))
    assert not any("\r" in line for line in lines)


def test_a_log_of_many_steps_is_short(capsys):
    with progress_bar(10_000, description="counting", verbose=1) as bar:
        for _ in range(10_000):
            bar.update()
    assert capsys.readouterr().err.count("\n") == 1


def test_nothing_is_said_of_work_that_there_is_not(capsys):
    with progress_bar(0, description="counting", verbose=1):
        pass
    assert capsys.readouterr().err == ""


def test_the_lines_leave_nothing_behind():
    with log_lines()(total=1, desc="counting", file=io.StringIO()) as bar:
        bar.update()
    assert bar not in tqdm._instances
