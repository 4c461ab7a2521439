import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import skcnn

HEAVY = {"tensorflow", "keras", "cv2", "h5py", "sklearn", "openvino", "numpy", "joblib", "fsspec", "tqdm"}


def modules_after(code):
    """Return which heavy modules a fresh process has loaded after running `code`."""
    report = f"{code}; import sys; print(*sorted({HEAVY!r} & set(sys.modules)))"
    return set(
        subprocess.run([sys.executable, "-c", report], check=True, capture_output=True, text=True).stdout.split()
    )


def is_written(folder):
    return (Path(skcnn.__file__).parent / folder / "__init__.py").exists()


def test_import_loads_nothing_heavy():
    assert modules_after("import skcnn; skcnn.__version__; dir(skcnn); skcnn.exceptions.StoreError") == set()


def test_lazy_images_need_no_decoder():
    code = "import skcnn; skcnn.AspectAwareResize(8).fit_transform(['a.jpg', 'b.jpg'])[1:]"
    assert modules_after(code) <= {"sklearn", "numpy", "joblib"}


@pytest.mark.slow
def test_pickling_an_estimator_of_a_named_network_loads_no_keras():
    estimators = "[skcnn.CNNFeatureExtractor(), skcnn.FineTunedCNNClassifier()]"
    code = f"import pickle, skcnn; pickle.loads(pickle.dumps({estimators}))"
    assert not modules_after(code) & {"keras", "tensorflow", "openvino"}


@pytest.mark.parametrize("name", sorted(skcnn.PUBLIC))
def test_public_names_resolve(name):
    home = skcnn.PUBLIC[name] or name
    if home != "exceptions" and not is_written(home):
        pytest.skip(f"skcnn.{home} is not written yet")
    value = getattr(skcnn, name)
    if skcnn.PUBLIC[name]:
        assert value is getattr(importlib.import_module(f"skcnn.{home}"), name)
        assert name in importlib.import_module(f"skcnn.{home}").__all__
    else:
        assert value is importlib.import_module(f"skcnn.{name}")
    # The second time it is an ordinary attribute.
    assert vars(skcnn)[name] is value


def test_dir_and_all_list_every_public_name():
    assert set(skcnn.PUBLIC) | {"__version__"} == set(skcnn.__all__)
    assert set(skcnn.__all__) <= set(dir(skcnn))
    assert dir(skcnn) == sorted(dir(skcnn))
    assert list(skcnn.PUBLIC) == sorted(skcnn.PUBLIC, key=str)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match=r"^module 'skcnn' has no attribute 'AspectRatioResize'$"):
        skcnn.AspectRatioResize  # noqa: B018
    assert not hasattr(skcnn, "_nothing")


def test_unknown_import():
    with pytest.raises(ImportError, match="cannot import name 'AspectRatioResize' from 'skcnn'"):
        from skcnn import AspectRatioResize  # noqa: F401


@pytest.mark.parametrize("folder", ["images", "metrics"])
def test_folders_export_a_sorted_all(folder):
    module = importlib.import_module(f"skcnn.{folder}")
    constants_first = sorted(module.__all__, key=lambda name: (not name.isupper(), name.islower(), name))
    assert sorted(module.__all__, key=str) == module.__all__ or constants_first == module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None
