"""Every block of Python in README.md and docs/ runs, each page from its top, in a folder with a few small images."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import skcnn

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if BLOCK.search(page.read_text(encoding="utf-8"))
]

# Weights of keras.applications are downloaded, which tests never do; and pictures are drawn to files.
PREAMBLE = """
import inspect, os
os.environ["MPLBACKEND"] = "Agg"
import keras
def without_weights(make):
    return lambda *args, **options: make(*args, **{**options, "weights": None})
for name, make in list(vars(keras.applications).items()):
    if inspect.isfunction(make):
        setattr(keras.applications, name, without_weights(make))
"""


def blocks(page):
    """Return the Python blocks of a page, each at its own line, so that a traceback names the line of the page."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        indent, code = match.groups()
        code = re.sub(f"^{indent}", "", code, flags=re.MULTILINE)
        yield "\n" * (text.count("\n", 0, match.start()) + 1) + code


@pytest.fixture
def folder(tmp_path):
    """A folder with what the pages take for granted: photographs of three classes, under two names, and new ones."""
    generator = np.random.default_rng(0)
    colours = {"daisy": (250, 250, 250), "iris": (180, 60, 120), "tulip": (40, 40, 220)}
    for name, colour in colours.items():
        for index in range(8):
            pixels = generator.integers(0, 120, (48, 64, 3), dtype=np.uint8)
            cv2.circle(pixels, tuple(generator.integers(16, 40, 2).tolist()), 14, colour, -1)
            for data in ("photos", "flowers17"):
                (tmp_path / data / name).mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(tmp_path / data / name / f"{index:02d}.jpg"), pixels)
            if index < 2:
                (tmp_path / "new_photos").mkdir(exist_ok=True)
                assert cv2.imwrite(str(tmp_path / "new_photos" / f"{index}.jpg"), pixels)
    return tmp_path


def run(page, folder, n_blocks=None):
    """Run the blocks of a page, or the first of them, as one script with an empty cache."""
    script = folder / "page.py"
    lines = [PREAMBLE, *(f"exec(compile({code!r}, {str(page)!r}, 'exec'))" for code in list(blocks(page))[:n_blocks])]
    script.write_text("\n".join(lines), encoding="utf-8")
    environment = os.environ | {"SKCNN_CACHE_DIR": str(folder / "cache")}
    result = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=460
    )
    assert result.returncode == 0, result.stderr[-4000:]


def test_what_a_newcomer_copies_first_runs(folder):
    run(ROOT / "README.md", folder, n_blocks=3)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs_from_its_top(page, folder):
    run(page, folder)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    """Links within the repository name files that are there, as readers of the sources follow them."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_public_name_is_on_the_page_of_the_api():
    text = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        module = importlib.import_module(section.split()[0])
        listed = re.findall(r"^   (\w+)$", section, flags=re.MULTILINE)
        assert listed == sorted(module.__all__), module.__name__
    modules = {path.name for path in Path(skcnn.__file__).parent.iterdir() if (path / "__init__.py").is_file()}
    assert {f"skcnn.{name}" for name in modules} < set(re.findall(r"^## (\S+)$", text, flags=re.MULTILINE))
