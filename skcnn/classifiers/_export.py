"""Write a trained network in the formats of others, for use without skcnn."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from skcnn._aside import aside
from skcnn._optional import import_optional
from skcnn.backbones._backbone import quiet_build
from skcnn.exceptions import BackboneError
from skcnn.images._geometry import Box

PROBABILITIES = "probabilities"


def export_network(build: Callable[[], Any], classes: np.ndarray, path: str | os.PathLike, *, overwrite: bool) -> Path:
    """Write a network that gives probabilities, and the names of the classes beside it.

    All files are written aside first and then moved into place, so a call that fails while it writes leaves what was
    there.

    Parameters
    ----------
    build : callable without arguments
        Returns a Keras model from pixels to probabilities. It is called when nothing speaks against `path`.
    classes : ndarray of shape (n_classes,)
        The labels, in the order of the probabilities.
    path : str or Path
        ``name.keras``, ``name.xml`` for OpenVINO, or the name of a folder for a SavedModel.
    overwrite : bool
        Whether an export that is there may be replaced.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        For another suffix.
    FileExistsError
        When something is there that may not be replaced: a folder that is no SavedModel never is, nor a file by one.
    ImportError
        When OpenVINO is needed and not installed.
    BackboneError
        When OpenVINO cannot run the network.
    """
    path = Path(path)
    write = writer_for(path)
    names = path.with_name(f"{path.name}.classes.json")
    finals = [path, names, *([path.with_suffix(".bin")] if path.suffix == ".xml" else [])]
    check_free(finals, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    with aside(path) as folder:
        folder.mkdir()
        write(build(), folder / path.name)
        (folder / names.name).write_text(f"{json.dumps(classes.tolist(), ensure_ascii=False)}\n", encoding="utf-8")
        for final in finals:
            if final.is_dir():
                final.rename(folder / f"{final.name}.old")
            os.replace(folder / final.name, final)
    return path


def join(parts: list[Any]) -> Any:
    """Return one Keras model from pixels to probabilities.

    Its layers are the models given, in inference mode, which follow each other from pixels to logits; of a single
    model, the layers of that.
    """
    from skcnn._keras import keras

    with quiet_build():
        if len(parts) == 1:
            (model,) = parts
            probabilities = keras.layers.Softmax(name=PROBABILITIES)(model.outputs[0])
            return keras.Model(model.inputs[0], probabilities, name="classifier")
        pixels = x = keras.Input(parts[0].input_shape[1:], dtype="float32", name="pixels")
        for part in parts:
            x = part(x, training=False)
        return keras.Model(pixels, keras.layers.Softmax(name=PROBABILITIES)(x), name="classifier")


def average_of_views(model: Any, size: tuple[int, int], boxes: list[Box], *, mirrored: bool, average: str) -> Any:
    """Return a Keras model that joins the probabilities of several views of each image.

    Parameters
    ----------
    model : keras.Model
        From the pixels of one view to probabilities.
    size : (int, int)
        Height and width of the images.
    boxes : list of Box
        The views, all of the size that `model` takes.
    mirrored : bool
        Whether each box is also seen mirrored.
    average : {"mean", "geometric", "max"}
        As of `TenCropClassifier`.
    """
    from skcnn._keras import keras

    ops = keras.ops
    with quiet_build():
        pixels = keras.Input((*size, model.input_shape[3]), dtype="float32", name="pixels")
        views = [pixels[:, box.top : box.top + box.height, box.left : box.left + box.width] for box in boxes]
        if mirrored:
            views += [ops.flip(view, axis=2) for view in views]
        stacked = model(ops.concatenate(views, axis=0), training=False)
        by_view = ops.reshape(stacked, (len(views), -1, model.output_shape[1]))
        if average == "geometric":
            logs = ops.log(ops.maximum(by_view, float(np.finfo(np.float32).tiny)))
            joined = ops.softmax(ops.mean(logs, axis=0))
        else:
            joined = ops.mean(by_view, axis=0) if average == "mean" else ops.max(by_view, axis=0)
            joined = joined / ops.sum(joined, axis=1, keepdims=True)
        probabilities = keras.layers.Activation("linear", name=PROBABILITIES)(joined)
        return keras.Model(pixels, probabilities, name="classifier")


def writer_for(path: Path) -> Callable[[Any, Path], None]:
    """Return the function that writes the format which the name of a path stands for."""
    writers = {".keras": write_keras, ".xml": write_openvino, "": write_saved_model}
    if path.suffix not in writers:
        msg = (
            "a network is exported as 'name.keras', as 'name.xml' (OpenVINO), or as a SavedModel, a folder whose name "
        )
        raise ValueError(f"{msg}has no dot. Got {str(path)!r}")
    if path.suffix == ".xml":
        import_optional("openvino", purpose="an export to OpenVINO", install="skcnn[fast]")
    return writers[path.suffix]


def write_keras(model: Any, path: Path) -> None:
    """Write one file that `keras.models.load_model` reads, in safe mode too."""
    model.save(path)


def write_saved_model(model: Any, path: Path) -> None:
    """Write a folder that `tf.saved_model.load` and TensorFlow Serving read."""
    model.export(path, format="tf_saved_model", verbose=False)


def write_openvino(model: Any, path: Path) -> None:
    """Write a model for `openvino.Core.read_model`, after checking that it gives the results of TensorFlow."""
    from skcnn.backbones._openvino import OpenVINORunner

    try:
        runner = OpenVINORunner(model)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # conversion fails in as many ways as there are layers
        msg = f"OpenVINO cannot run this network: {error}. Export it as 'name.keras', or as a SavedModel"
        raise BackboneError(msg) from error
    runner.save(path, PROBABILITIES)


def check_free(finals: list[Path], overwrite: bool) -> None:
    """Refuse to replace anything unless `overwrite`, and even then a folder that is no SavedModel."""
    there = [final for final in finals if final.exists()]
    if there and not overwrite:
        msg = f"already there: {', '.join(map(str, there))}"
        raise FileExistsError(f"{msg}; choose another name, or replace what is there with overwrite=True")
    for final in there:
        if (final.is_dir() or not final.suffix) and not (final / "saved_model.pb").is_file():
            kind = "folder" if final.is_dir() else "file"
            msg = f"{str(final)!r} is a {kind}, but no SavedModel, and is left as it is; choose another name"
            raise FileExistsError(msg)
