"""A module imports only from floors below its own, and from its own folder."""

import ast
from pathlib import Path

import pytest

import skcnn

ROOT = Path(skcnn.__file__).parent
FLOORS = {
    "classifiers": 6,
    "training": 5,
    "inspection": 5,
    "features": 4,
    "datasets": 4,
    "images": 3,
    "cache": 2,
    "backbones": 2,
    "architectures": 1,
    "metrics": 1,
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room_of(module):
    """The folder of `skcnn.folder.file`; floor-1 files at the top are rooms of their own."""
    return module.split(".")[1]


def floor_of(room):
    return FLOORS.get(room, 0)


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            if node.module == "skcnn":
                yield from (f"skcnn.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module in imported_modules(path):
        if not module.startswith("skcnn."):
            continue
        room = room_of(module)
        assert (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file(), f"{path} imports {module}, which is no module"
        assert room == own or floor_of(room) < floor_of(own), f"{path.name} (floor {floor_of(own)}) imports {module}"


def test_every_folder_has_a_floor():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert folders <= FLOORS.keys()
