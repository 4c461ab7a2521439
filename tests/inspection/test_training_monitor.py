import json
import sys

import pytest
from PIL import Image

from skcnn.exceptions import StoreWarning
from skcnn.inspection import TrainingMonitor

RECORD = {"phase": "head", "epoch": 1, "loss": 0.5, "accuracy": 0.5, "learning_rate": float("nan")}


def test_the_files_are_replaced_as_a_whole(tmp_path, pyplot):
    monitor = TrainingMonitor(tmp_path / "run")
    monitor.update([RECORD])
    first = (tmp_path / "run" / "history.png").read_bytes()
    later = [RECORD, {"phase": "fine-tune", "epoch": 1, "loss": 0.25, "accuracy": 1.0, "val_loss": float("inf")}]
    monitor.update(later)
    assert json.loads((tmp_path / "run" / "history.json").read_text()) == [
        RECORD | {"learning_rate": None},
        later[1] | {"val_loss": None},
    ]
    assert (tmp_path / "run" / "history.png").read_bytes() != first
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["history.json", "history.png"]
    assert pyplot.get_fignums() == []


def test_the_picture_can_be_printed(tmp_path, pyplot):
    """300 dots per inch, and no wider than the text of a page."""
    TrainingMonitor(tmp_path).update([RECORD])
    with Image.open(tmp_path / "history.png") as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert picture.width <= 6.5 * 300


def test_without_matplotlib_there_is_no_picture(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("skcnn.inspection._training_monitor.is_installed", lambda name: False)
    TrainingMonitor(tmp_path).update([RECORD])
    assert [path.name for path in tmp_path.iterdir()] == ["history.json"]


def test_a_directory_that_cannot_be_written_to_any_more(tmp_path):
    monitor = TrainingMonitor(tmp_path / "run")
    (tmp_path / "run").rmdir()
    with pytest.warns(
        StoreWarning, match="cannot be written to: .*; training goes on without pictures of it"
    ) as warned:
        monitor.update([RECORD])
        monitor.update([RECORD])
    assert len(warned) == 1


def test_the_picture_is_drawn_every_few_seconds_and_at_the_end(tmp_path, monkeypatch):
    monitor, drawn = TrainingMonitor(tmp_path), []
    monkeypatch.setattr(monitor, "_draw", lambda history: drawn.append(len(history)))
    for count in range(1, 6):
        monitor.update([RECORD] * count, is_last=count == 5)
        assert len(json.loads((tmp_path / "history.json").read_text())) == count
    assert drawn == [1, 5]
