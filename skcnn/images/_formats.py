"""The image formats that are read, all by Pillow; the error for other files names their type."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from skcnn._locks import Lock
from skcnn._optional import is_installed
from skcnn.exceptions import ImageReadError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

# Name, how its files start, and the class that opens them. Pillow's own `Image.open` would load all its plugins for the
# whole process, and refuse large images by a limit of the whole process.
FORMATS = (
    ("JPEG", rb"\xff\xd8\xff", "PIL.JpegImagePlugin", "JpegImageFile"),
    ("PNG", rb"\x89PNG\r\n\x1a\n", "PIL.PngImagePlugin", "PngImageFile"),
    ("GIF", rb"GIF8[79]a", "PIL.GifImagePlugin", "GifImageFile"),
    ("WebP", rb"RIFF....WEBP", "PIL.WebPImagePlugin", "WebPImageFile"),
    ("BMP", rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", "PIL.BmpImagePlugin", "BmpImageFile"),
    ("TIFF", rb"II[*+]\x00(?!....CR)|MM\x00[*+]", "skcnn.images._tiff", "CheckedTiffFile"),
    ("AVIF", rb"....ftyp(?:avi[fs]|(?:mif1|msf1).{4,64}?avi[fs])", "PIL.AvifImagePlugin", "AvifImageFile"),
    ("JPEG 2000", rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    ("PNM", rb"P[1-6]\s+[#\d]", "PIL.PpmImagePlugin", "PpmImageFile"),
    ("HEIC", rb"....ftyp(?:he[iv][cmsx]|mif1|msf1)", "pillow_heif", "HeifImageFile"),
)

KNOWN = ", ".join(name for name, *_ in FORMATS)

# As many as any signature of FORMATS looks at, and as any of OTHERS does, of which a path passed as bytes is longest.
HEAD_BYTES = 256
OTHER_BYTES = 4200
# Far more than metadata need, which are read in blocks of kilobytes. Without a limit, Pillow would read a file of
# hundreds of megabytes byte by byte.
MAX_READS = 1_000_000
# Pillow reads each run of a run-length encoded BMP in two pieces.
READS_PER_PIXEL = 4

CONVERT = "convert it to JPEG or PNG, or open it with a library of your choice and pass Pillow images or arrays"
CAMERA_RAW = "a camera raw file, which is not read; export it as JPEG, or develop it with rawpy and pass the arrays"
# How other files start that are found among images, and what to say about them.
OTHERS = (
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", f"a JPEG XL image, which is not read; {CONVERT}"),
    (rb"II\*\x00....CR|II[RU][OS\x00]|MMOR|FUJIFILMCCD-RAW|FOVb|\x00MRM|....ftypcrx|.{6}HEAPCCDR", CAMERA_RAW),
    (rb"8BPS", f"a Photoshop document, which is not read; {CONVERT}"),
    (rb"%PDF|%!PS", f"a PDF or PostScript document, which is not read; {CONVERT}"),
    (rb".{128}DICM", f"a DICOM image, which is not read; {CONVERT}"),
    (rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", "a video; extract the frames that you need"),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the image itself; fetch it with `git lfs pull`"),
    (rb"\x00\x05\x16[\x00\x07]", "what macOS keeps beside a file, not the image itself; leave it out"),
    (
        rb"[^\x00-\x1f]{1,4096}\.\w{2,5}\s*\Z",
        "the name of a file, not an image; pass paths as str (os.fsdecode)",
    ),
    (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf", "an archive; unpack it"),
    (rb"(?:\xef\xbb\xbf)?\s*<[!?a-zA-Z]", "a page of HTML, SVG or XML; was it downloaded in place of the image?"),
)

# What Pillow and libjpeg say of a whole file that they have no code for.
UNSUPPORTED = re.compile(
    r"(?i)unsupported|not supported|not implemented|not available|unknown|unrecogni[sz]ed(?! data stream)|cannot handle"
    r"|NotImplemented"
)

_pillow_warnings = Lock()


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Suppress the warnings of Pillow about metadata: they name no file, so nobody could act on them."""
    # One thread at a time: the filters are those of the whole process, and must be put back in order.
    with _pillow_warnings, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def open_image(data: bytes) -> tuple[str, ImageFile]:
    """Read the header of an encoded image.

    Parameters
    ----------
    data : bytes
        The whole encoded image.

    Returns
    -------
    name : str
        The format, as in ``FORMATS``.
    image : PIL.ImageFile.ImageFile
        Nothing of it is decoded yet.

    Raises
    ------
    ImageReadError
        When `data` is empty, of a format or variant that is not read, or its header is damaged.
    """
    if not data:
        raise ImageReadError("the file is empty (0 bytes)")
    found = format_of(data)
    if found is None:
        raise ImageReadError(describe_other(data) or f"not an image of a known format ({KNOWN})")
    name, _, module, kind = found
    if module == "pillow_heif" and not is_installed(module):
        raise ImageReadError("it is a HEIC image, as phones write them; `pip install pillow-heif`, and it is read")
    opener = getattr(import_module(module), kind)
    with failures_explained(name), quiet_pillow():
        file = EncodedImage(data)
        image = opener(file)
        file.reads_left += READS_PER_PIXEL * image.width * image.height
        return name, image


class EncodedImage(io.BytesIO):
    """The bytes of an image file, which can be read in a limited number of pieces.

    Pillow skips some things byte by byte in Python, such as what stands between the segments of a JPEG and comments in
    a PNM.
    """

    reads_left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as `io.BytesIO` does; an OSError after too many calls."""
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError(f"no end of the metadata was found after reading {MAX_READS:,} pieces of them")
        return super().read(size)


def format_of(data: bytes) -> tuple[str, bytes, str, str] | None:
    """Return the entry of ``FORMATS`` for an encoded image, of which the first HEAD_BYTES are enough."""
    head = data[:HEAD_BYTES]
    return next((entry for entry in FORMATS if re.match(entry[1], head, re.DOTALL)), None)


def describe_other(data: bytes) -> str | None:
    """Return the type of a file of no format in ``FORMATS``, or None if it is unknown."""
    head = data[:OTHER_BYTES]
    return next((f"it is {what}" for signature, what in OTHERS if re.match(signature, head, re.DOTALL)), None)


@contextlib.contextmanager
def failures_explained(name: str, *earlier: Exception) -> Iterator[None]:
    """Turn whatever Pillow raises within into an ImageReadError that also names the `earlier` errors."""
    try:
        yield
    except (MemoryError, ImageReadError):
        raise
    except Exception as error:  # each plugin of Pillow has errors of its own
        raise explain_failure(name, *earlier, error) from error


def explain_failure(name: str, *errors: Exception) -> ImageReadError:
    """Return the error for an image that could not be opened or decoded: of a rare variant, or damaged."""
    reasons = [str(error) or type(error).__name__ for error in errors]
    if any(UNSUPPORTED.search(reason) for reason in reasons):
        return ImageReadError(f"it is a {name} of a variant that is not read ({'; '.join(reasons)}); {CONVERT}")
    reason = reasons[-1].replace("not identified by this driver", "its header announces no pixels")
    return ImageReadError(f"the {name} data is cut short or damaged ({reason})")
