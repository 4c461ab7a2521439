"""Digests of the source code of a user's own classes and functions: part of the fingerprints they take part in.

The rule errs on the side of computing again: the whole text of the file that defines a class or a function counts, and
that of every module of the user's own which that file imports, directly or not; comments and blank lines do not.
Installed packages stand for themselves by the file a class is defined in. Besides, the byte code of each function
counts: what runs may be older than its file. Of a script, a prompt or a notebook it counts alone: joblib's workers get
their code by value, and must come to the same fingerprint without a file.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import io
import os
import sys
import sysconfig
import tokenize
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
# What these compute is fixed by their own versions, which are part of fingerprints elsewhere.
TRUSTED = sys.stdlib_module_names | {"skcnn", "keras", "tensorflow"}
LIBRARY_FOLDERS = tuple(
    os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
MAIN_MODULES = {"__main__", "__mp_main__"}
LIBRARY_NAMES = {"site-packages", "dist-packages"}
# Of a dataclass these are made from its fields, which a step describes by themselves, or change no pixel.
GENERATED = {"__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__replace__"}
DIGEST_BYTES = 16


class UnknownCodeError(ValueError):
    """The source of some code cannot be read, so nothing it computed can be stored."""


def describe_code(*codes: Any, nameless: Iterable[types.FunctionType] = ()) -> dict[str, Any]:
    """Return a description, as JSON types, of classes and functions that changes when their code does.

    Parameters
    ----------
    *codes : type or function
        Of a class, every class it inherits from counts as well. Of functions, the values they find around themselves
        count, too: defaults, closures, and the plain globals they name.
    nameless : iterable of functions, default=()
        Lambdas and the like, which are pickled by value: they count by their byte code, wherever their file is by now.

    Returns
    -------
    dict
        "files": name and digest of each file; "values": a digest of everything else.

    Raises
    ------
    UnknownCodeError
        When a function depends on an object whose value cannot be told, such as an open file in a closure.
    """
    walk = CodeWalk()
    for code in codes:
        walk.visit(code)
    for function in nameless:
        walk.visit_function(function, path=None)
    return walk.description()


class CodeWalk:
    """Collects what some code depends on."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.parts: list[str] = []
        self._seen: set[int] = set()
        self._keep: list[Any] = []

    def description(self) -> dict[str, Any]:
        """Return what was collected, as JSON types; folders do not count, so that a project may move."""
        files = sorted([os.path.basename(path), digest] for path, digest in self.files.items())
        return {"files": files, "values": digest_of("\n".join(self.parts))}

    def visit(self, code: Any) -> None:
        """Add a class or function, once."""
        if id(code) in self._seen:
            return
        self._seen.add(id(code))
        self._keep.append(code)  # an id belongs to one object only as long as that lives
        if isinstance(code, type):
            for base in code.__mro__:
                self._visit_class(base)
        elif isinstance(code, types.MethodType):
            self.visit(code.__func__)
        elif isinstance(code, types.FunctionType):
            self.visit_function(code, source_file(code))

    def _visit_class(self, kind: type) -> None:
        if is_trusted(kind.__module__):
            return
        file = file_of_module(kind.__module__)
        if file:
            self._add_file(file)
        self.parts.append(kind.__name__)  # a worker loses the rest of the qualified name
        is_dataclass = "__dataclass_fields__" in vars(kind)
        for name, value in sorted(vars(kind).items()):
            if is_dataclass and name in GENERATED:
                continue
            function = function_of(value)
            if function is None:
                if isinstance(value, PLAIN) and not name.startswith("__"):
                    self.parts.append(f"{name}={value!r}")
            else:
                self.visit(function)

    def visit_function(self, function: types.FunctionType, path: str | None) -> None:
        """Add a function: the file it is defined in, its byte code, and the values it finds around itself."""
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            self.visit(wrapped)
        if is_library(function.__code__.co_filename):
            return
        if path:
            self._add_file(path)
        else:
            self._add_imports(function)
        self.parts.append(f"{function.__qualname__} {code_key(function.__code__)}")
        owner = function.__qualname__
        self.parts.append(repr(self._value(function.__defaults__, owner)))
        self.parts.append(repr(self._value(function.__kwdefaults__, owner)))
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # still empty
                continue
            self.parts.append(repr(self._value(content, owner)))
        for name in sorted(globals_used(function.__code__) & function.__globals__.keys()):
            value = function.__globals__[name]
            try:
                self.parts.append(f"{name}={self._value(value, f'{owner} ({name})')!r}")
            except UnknownCodeError:
                if not path:  # else the file says how it was made
                    raise

    def _value(self, value: Any, owner: str) -> Any:
        """Return a JSON description of a value; classes and functions in it are visited as well."""
        if isinstance(value, PLAIN):
            return type(value).__name__, value
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
            return str(value.dtype), value.shape, digest_of(np.ascontiguousarray(value).tobytes())
        if isinstance(value, (tuple, list)):
            return type(value).__name__, [self._value(item, owner) for item in value]
        if isinstance(value, (set, frozenset)):
            return type(value).__name__, sorted(repr(self._value(item, owner)) for item in value)
        if isinstance(value, dict):
            return "dict", sorted(repr((self._value(k, owner), self._value(v, owner))) for k, v in value.items())
        if isinstance(value, types.ModuleType):
            if is_own_file(getattr(value, "__file__", None)):
                self._add_file(value.__file__)  # type: ignore[arg-type]
            return "module", value.__name__
        if isinstance(value, (type, types.FunctionType, types.MethodType)):
            self.visit(value)
            return type(value).__name__, value.__name__
        if isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
            return "builtin", value.__name__
        raise UnknownCodeError(f"{owner} depends on a {type(value).__name__}, whose value cannot be told")

    def _add_imports(self, function: types.FunctionType) -> None:
        """Add the user's own modules that are imported inside a function without a file."""
        for name in names_used(function.__code__) - function.__globals__.keys():
            file = module_file(name, os.getcwd())
            if file:
                self._add_file(file)

    def _add_file(self, path: str) -> None:
        """Add a file and, if it is the user's own, every one of the user's own files that it imports."""
        pending = [os.path.realpath(path)]
        while pending:
            path = pending.pop()
            if path in self.files or not path.endswith(".py") or not os.path.isfile(path):
                continue
            digest, imports = read_module(*file_state(path))
            self.files[path] = digest
            if is_own_file(path):
                pending += [file for name in imports if (file := module_file(name, path))]


def is_trusted(module: str) -> bool:
    """Whether a module belongs to Python, Keras, TensorFlow or skcnn."""
    return module.partition(".")[0] in TRUSTED


def is_library(path: str) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    real = os.path.realpath(path)
    return real.startswith(LIBRARY_FOLDERS) or bool(LIBRARY_NAMES & set(Path(real).parts))


def is_own_file(path: str | None) -> bool:
    """Whether a file is Python source of the user's own: of no installed package, and not of skcnn."""
    return bool(path) and path.endswith(".py") and not is_library(path) and not is_skcnn(path)  # type: ignore


def is_skcnn(path: str) -> bool:
    """Whether a file belongs to this package, which may be installed in editable form."""
    return os.path.realpath(path).startswith(os.path.dirname(os.path.realpath(__file__)) + os.sep)


def file_of_module(name: str) -> str | None:
    """Return the file of a module; None for what runs as the main program."""
    if name in MAIN_MODULES:
        return None
    # A class may come to a worker process by value, whose module is not imported there.
    loaded = getattr(sys.modules.get(name), "__file__", None)
    return loaded or module_file(name, os.getcwd())


def source_file(function: types.FunctionType) -> str | None:
    """Return the file that a function is defined in; None for the main program and for what has no file."""
    if function.__module__ in MAIN_MODULES:
        return None
    path = function.__code__.co_filename
    return path if os.path.isfile(path) else file_of_module(function.__module__ or "")


def function_of(attribute: Any) -> types.FunctionType | None:
    """Return the function behind an attribute of a class; None where there is none."""
    for name in ("__func__", "fget", "func"):  # static and class methods, properties, cached properties
        attribute = getattr(attribute, name, attribute)
    return attribute if isinstance(attribute, types.FunctionType) else None


def globals_used(code: types.CodeType) -> set[str]:
    """Return the names of the globals that a function, and the functions inside it, look up."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    names = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*map(globals_used, inner))


def names_used(code: types.CodeType) -> set[str]:
    """Return the names that a function, and the functions inside it, look up or import, and those of attributes."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*map(names_used, inner))


def code_key(code: types.CodeType) -> str:
    """Return a digest of byte code without its line numbers."""
    consts = [code_key(const) if isinstance(const, types.CodeType) else stable_repr(const) for const in code.co_consts]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return digest_of(repr((code.co_code, consts, names, code.co_argcount, code.co_kwonlyargcount, code.co_flags)))


def stable_repr(const: Any) -> str:
    """Return the repr of a constant; the order in a set changes with each process."""
    if isinstance(const, frozenset):
        return f"frozenset({sorted(map(stable_repr, const))})"
    return f"({','.join(map(stable_repr, const))})" if isinstance(const, tuple) else repr(const)


def file_state(path: str) -> tuple[str, int, int]:
    """Return the state of a file: it differs after every change."""
    stat = os.stat(path)
    return path, stat.st_mtime_ns, stat.st_size


@functools.lru_cache(maxsize=512)
def read_module(path: str, mtime_ns: int, size: int) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a file's code and the names of the modules it imports; a leading dot for each level."""
    source = Path(path).read_bytes()
    text = without_comments(source)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return digest_of(text), ()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            joint = "" if base.endswith(".") else "."
            names += [base, *(f"{base}{joint}{alias.name}" for alias in node.names)]
    return digest_of(text), tuple(dict.fromkeys(names))


def without_comments(source: bytes) -> str:
    """Return the text of a Python file without comments and, outside strings, blank lines and trailing blanks."""
    in_strings: set[int] = set()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        lines = io.StringIO(source.decode(encoding), newline=None).read().split("\n")
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            (row, column), (last, _) = token.start, token.end
            if token.type == tokenize.COMMENT:
                lines[row - 1] = lines[row - 1][:column]
            elif last > row:  # only strings reach over several lines
                in_strings.update(range(row, last + 1))
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError, IndexError):
        return source.decode("latin-1")
    kept = [
        line if row in in_strings else line.rstrip()
        for row, line in enumerate(lines, 1)
        if row in in_strings or line.strip()
    ]
    return "\n".join(kept)


def module_file(name: str, importer: str) -> str | None:
    """Return the file of a module of the user's own, given the file that imports it; None for any other."""
    level = len(name) - len(name.lstrip("."))
    parts = [part for part in name[level:].split(".") if part]
    if level:
        folders = [str(Path(importer).parents[level - 1])] if level <= len(Path(importer).parents) else []
    else:
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded:
            return os.path.realpath(loaded) if is_own_file(loaded) else None
        if is_trusted(name):
            return None
        # A worker process need not have imported what the main process has.
        folders = [entry or os.getcwd() for entry in sys.path]
    for folder in folders:
        base = os.path.join(folder, *parts)
        for candidate in (f"{base}.py", os.path.join(base, "__init__.py")):
            if os.path.isfile(candidate):
                return os.path.realpath(candidate) if is_own_file(candidate) else None
    return None


def digest_of(data: str | bytes) -> str:
    return hashlib.blake2b(data.encode() if isinstance(data, str) else data, digest_size=DIGEST_BYTES).hexdigest()
