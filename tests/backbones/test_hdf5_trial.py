"""A damaged HDF5 file may make the library loop or crash; that costs a process which nobody needs."""

import json

import h5py
import numpy as np
import pytest

from skcnn.backbones import _hdf5_trial, resolve_backbone
from skcnn.backbones._hdf5_trial import check_hdf5
from skcnn.exceptions import BackboneError


@pytest.fixture
def endless(tmp_path):
    """A file that HDF5 reads for ever: the size of an object in its global heap has one flipped bit."""
    path = tmp_path / "endless.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "b" * 600})
        file["weights"] = np.arange(10.0)
    data = bytearray(path.read_bytes())
    data[data.index(b"GCOL") + 25] ^= 1
    path.write_bytes(data)
    return path


def test_a_whole_file_passes(tmp_path):
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.attrs["text"] = "of variable length"
        file["group/data"] = np.arange(10.0)
        file["group/link"] = h5py.ExternalLink("elsewhere.h5", "/data")
    check_hdf5(str(tmp_path / "whole.h5"), "1")


def test_what_is_no_hdf5_is_left_to_the_reader(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    check_hdf5(str(tmp_path / "text.h5"), "2")


@pytest.mark.slow
def test_a_file_without_an_end_is_refused(endless, monkeypatch):
    monkeypatch.setattr(_hdf5_trial, "SECONDS", 3)
    match = r"endless.h5' is damaged: HDF5 does not come to an end when it reads it. Save or download it again"
    with pytest.raises(BackboneError, match=match):
        resolve_backbone(endless).identity()
    with pytest.raises(BackboneError, match=match):
        resolve_backbone("VGG16", weights=str(endless)).build()


def test_a_file_that_crashes_hdf5_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_hdf5_trial, "TRIAL", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    (tmp_path / "crash.h5").write_text("anything")
    with pytest.raises(BackboneError, match=r"crash.h5' is damaged: HDF5 crashes \(exit code -11\)"):
        check_hdf5(str(tmp_path / "crash.h5"), "3")
