"""Backbones on their way to another process, with the classes and functions that Keras needs to make them again."""

from __future__ import annotations

import copyreg
import importlib
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from skcnn._private import flat_layers
from skcnn._source_code import MAIN_MODULES, is_trusted
from skcnn.backbones._fork import check_not_forked
from skcnn.backbones._identity import own_code
from skcnn.backbones._lambdas import dump_model, is_nameless, named_config, restore_model
from skcnn.backbones._model_files import FileBackbone, LegacyFileBackbone, backbone_in_file
from skcnn.backbones._models import ModelBackbone, is_keras_model
from skcnn.backbones._registered import registered_code
from skcnn.exceptions import BackboneError


class Code(NamedTuple):
    """A class or function of the user's own.

    A module is imported by name, so that one that cannot be imported is no error before the network is needed; what is
    defined in a script or a notebook travels itself, as far as the pickler in use can take it along.
    """

    module: str
    name: str
    registered_name: str
    itself: Any


class LostBackbone:
    """Stands for a backbone that could not be made again from a pickle; using it says why.

    An error while unpickling would break a pool of workers, and say nothing of the kind.
    """

    def __init__(self, reason: str):
        self.reason = reason

    def __repr__(self) -> str:
        return f"<a backbone that could not be unpickled: {self.reason}>"


class PortableBackbone:
    """The form of a `backbone` parameter in a pickle.

    Parameters
    ----------
    backbone : str, path or keras.Model
        Unpickling gives the backbone itself; a copy of the object that holds this finds it in `backbone`.
    """

    def __init__(self, backbone: Any):
        self.backbone = backbone

    def __reduce__(self) -> tuple[Any, ...]:
        if not is_keras_model(self.backbone):
            return receive_path, (self.backbone, pack(code_of_file(self.backbone)))
        try:
            saved = dump_model(self.backbone)
        except Exception as error:  # whatever a layer's get_config raises
            msg = (
                f"the model {self.backbone.name!r} cannot be sent to another process or saved: {error}. Give its "
                "layers a get_config that works, or stay in this process: n_jobs=1"
            )
            raise BackboneError(msg) from error
        return receive_model, (self.backbone.name, saved, pack(code_of_model(self.backbone)))


def code_of_model(model: Any) -> list[Any]:
    """Return the classes and functions of a model that are not Keras's."""
    registered = registered_code(named_config(model)[0])
    return [
        *(code for code in registered.values() if code is not None),
        *(code for layer in flat_layers(model) for code in own_code(layer)),
    ]


def code_of_file(path: Any) -> list[Any]:
    """Return the classes and functions of a network in a file that it names only; none where it cannot be told."""
    try:
        backbone = backbone_in_file(os.fspath(path))
        if isinstance(backbone, LegacyFileBackbone):
            return code_of_model(backbone.model)
        return backbone.code() if isinstance(backbone, FileBackbone) else []
    except (BackboneError, TypeError, OSError):
        return []


def pack(codes: Iterable[Any]) -> list[Code]:
    """Return the code that defines classes and functions again elsewhere."""
    packed = {}
    for code in codes:
        from skcnn._keras import keras  # of a network by name there is nothing to pack, and Keras takes seconds

        module, name = code.__module__ or "", code.__qualname__
        if is_trusted(module) or is_nameless(code):  # which travels with the model
            continue
        itself = code if module in MAIN_MODULES else None
        packed[module, name] = Code(module, name, keras.saving.get_registered_name(code), itself)
    return list(packed.values())


def unpack(codes: list[Code]) -> dict[str, Any]:
    """Import modules, which register what they define, and return all that was packed, by its registered name.

    What travelled itself is registered here if it was where it came from.
    """
    from skcnn._keras import keras

    found = {}
    for module, name, registered_name, itself in codes:
        code = itself
        if code is None:
            code = importlib.import_module(module)
            for part in name.split("."):
                code = getattr(code, part, None)
        package, _, plain_name = registered_name.partition(">")
        if code is None:  # defined inside a function, so that nobody else can reach it
            continue
        if plain_name and keras.saving.get_registered_object(registered_name) is None:
            keras.saving.register_keras_serializable(package, plain_name)(code)
        found[registered_name] = code
    return found


def receive_path(path: Any, codes: list[Code]) -> Any:
    """Return a name or path, once the classes that its file refers to are registered."""
    try:
        if codes:
            unpack(codes)
    except Exception as error:  # whatever importing a module raises
        return LostBackbone(f"{path!r} uses layers of {modules_of(codes)}, which this process cannot import: {error!r}")
    return path


def receive_model(name: str, saved: bytes, codes: list[Code]) -> Any:
    """Return a model, once its layers are known."""
    try:
        check_not_forked()
    except BackboneError as error:
        return LostBackbone(str(error))
    try:
        known = unpack(codes)
    except Exception as error:
        return LostBackbone(
            f"the model {name!r} uses layers of {modules_of(codes)}, which this process cannot import: {error!r}"
        )
    try:
        return restore_model(saved, known)
    except Exception as error:  # whatever a layer's from_config raises
        # Keras goes on at length, and gives the reason last.
        reason = str(error).strip().rpartition("\n")[2]
        return LostBackbone(
            f"Keras cannot make the model {name!r} again from a pickle. Its layers need a get_config and from_config "
            f"that fit, and a module that defines them; or stay in one process: n_jobs=1. Keras says: {reason}"
        )


def modules_of(codes: list[Code]) -> str:
    """Return the names of modules, for a message."""
    return ", ".join(sorted({repr(code.module) for code in codes}))


def reduce_model_backbone(backbone: ModelBackbone) -> tuple[Any, ...]:
    """Pickle a backbone with the code of its layers."""
    return resolve_received, (PortableBackbone(backbone.model),)


def reduce_file_backbone(backbone: FileBackbone | LegacyFileBackbone) -> tuple[Any, ...]:
    """Pickle a backbone with the code that its file names."""
    return type(backbone), (PortableBackbone(backbone.path),)


def resolve_received(received: Any) -> ModelBackbone:
    """Return the backbone of a model that came in a pickle."""
    if isinstance(received, LostBackbone):
        raise BackboneError(received.reason)
    return ModelBackbone(received)


copyreg.pickle(ModelBackbone, reduce_model_backbone)
copyreg.pickle(FileBackbone, reduce_file_backbone)
copyreg.pickle(LegacyFileBackbone, reduce_file_backbone)
