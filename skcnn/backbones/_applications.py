"""The networks of `keras.applications`, without their classification tops."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

from skcnn.backbones._backbone import RANDOM, Backbone, file_digest, quiet_build, randomise, weights_file
from skcnn.backbones._hdf5_trial import check_hdf5
from skcnn.backbones._nested import inline_nested
from skcnn.exceptions import BackboneError

# Module of keras.applications -> network -> side in pixels of its training images. A table, because importing Keras
# only to learn a size would cost a warm run more than all the rest of it.
MODULES = {
    "convnext": {f"ConvNeXt{size}": 224 for size in ("Tiny", "Small", "Base", "Large", "XLarge")},
    "densenet": {"DenseNet121": 224, "DenseNet169": 224, "DenseNet201": 224},
    "efficientnet": {
        f"EfficientNetB{index}": side for index, side in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
    },
    "efficientnet_v2": {
        "EfficientNetV2B0": 224,
        "EfficientNetV2B1": 240,
        "EfficientNetV2B2": 260,
        "EfficientNetV2B3": 300,
        "EfficientNetV2S": 384,
        "EfficientNetV2M": 480,
        "EfficientNetV2L": 480,
    },
    "inception_resnet_v2": {"InceptionResNetV2": 299},
    "inception_v3": {"InceptionV3": 299},
    "mobilenet": {"MobileNet": 224},
    "mobilenet_v2": {"MobileNetV2": 224},
    "mobilenet_v3": {"MobileNetV3Small": 224, "MobileNetV3Large": 224},
    "nasnet": {"NASNetMobile": 224, "NASNetLarge": 331},
    "resnet": {"ResNet50": 224, "ResNet101": 224, "ResNet152": 224},
    "resnet_v2": {"ResNet50V2": 224, "ResNet101V2": 224, "ResNet152V2": 224},
    "vgg16": {"VGG16": 224},
    "vgg19": {"VGG19": 224},
    "xception": {"Xception": 299},
}
APPLICATIONS = {name: (module, side) for module, names in MODULES.items() for name, side in names.items()}


class ApplicationBackbone(Backbone):
    """One network of `keras.applications`.

    Parameters
    ----------
    name : str
        A key of ``APPLICATIONS``.
    weights : "imagenet", None or path
        Keras's own download, seeded random values, or a file that fits the network without its top.
    include_top : bool, default=False
        Whether it ends in the probabilities of the 1,000 classes of ImageNet; a file is of the whole network then.
    """

    depends_on_release = True

    def __init__(self, name: str, weights: Any, *, include_top: bool = False):
        self.name = name
        self.weights = weights
        self.include_top = include_top
        self._file = None if weights in (None, "imagenet") else weights_file(weights)

    def identity(self) -> dict[str, Any]:
        """Return name, weights and Keras's release, which stands for the graph and for the weights it downloads."""
        weights = {"file": file_digest(self._file)} if self._file else self.weights or RANDOM
        top = {"top": True} if self.include_top else {}
        return {"application": self.name, "weights": weights, "keras": importlib.metadata.version("keras"), **top}

    def with_top(self) -> ApplicationBackbone:
        """Return the network with the layers that tell the classes of ImageNet."""
        return ApplicationBackbone(self.name, self.weights, include_top=True)

    @property
    def tells_imagenet_classes(self) -> bool:
        """All of them were published with these."""
        return True

    def input_shape(self) -> tuple[int, int, int]:
        """Return the size of the training images."""
        side = APPLICATIONS[self.name][1]
        return side, side, 3

    def build(self, input_size: tuple[int, int] | None = None, *, load_weights: bool = True) -> Any:
        """Return the network as one graph."""
        from skcnn._keras import keras

        weights = "imagenet" if self.weights == "imagenet" and load_weights else None
        height, width = input_size or self.input_shape()[:2]
        with quiet_build():
            try:
                model = getattr(keras.applications, self.name)(
                    weights=weights, include_top=self.include_top, input_shape=(height, width, 3)
                )
            except Exception as error:  # Keras raises a bare Exception when a download fails
                raise BackboneError(f"{self.name} cannot be built: {error}{self._download_hint(error)}") from error
        if self._file and load_weights:
            self._load_file(model, self._file)
        elif weights is None and load_weights:
            randomise(model)
        # The networks of ConvNeXt have models inside.
        return inline_nested(model)

    @property
    def normalisation(self) -> str:
        """The range is known for every application; Keras's version is in the identity."""
        return f"{APPLICATIONS[self.name][0]}.preprocess_input"

    def normalise(self, pixels: Any) -> Any:
        """Apply the `preprocess_input` that belongs to the network."""
        return preprocess_input(APPLICATIONS[self.name][0], pixels)

    def _load_file(self, model: Any, file: str) -> None:
        check_hdf5(file, file_digest(file))
        try:
            model.load_weights(file)
        except Exception as error:  # h5py, Keras and zip errors alike
            # Keras goes on to print the weights themselves.
            reason = str(error).strip().partition("\n")[0]
            part = "with" if self.include_top else "without"
            msg = f"{file!r} does not hold the weights of {self.name} {part} its top: {reason}"
            raise BackboneError(msg) from error

    def _download_hint(self, error: Exception) -> str:
        if "URL" not in str(error):
            return ""
        return ". Without a network, pass weights='<file>' or use the packaged backbone 'efficientnet_lite0'"


def preprocess_input(module: str, pixels: Any) -> Any:
    """Apply the `preprocess_input` of a module of `keras.applications` to symbolic pixels."""
    application = importlib.import_module(f"keras.applications.{module}")
    return application.preprocess_input(pixels, data_format="channels_last")
