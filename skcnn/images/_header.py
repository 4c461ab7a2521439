"""Read format and size from the first bytes of an encoded image, so that a bomb is refused before it is decoded."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from skcnn.exceptions import ImageReadError

__all__ = ["FORMATS", "Header", "avif_transforms", "check_png_chunks", "read_header", "tiff_tags"]

FORMATS = ("JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF", "AVIF", "JPEG 2000", "PNM")

TIFF_WIDTH, TIFF_HEIGHT = 256, 257
# Type of a tag -> size in bytes and struct code of one value.
TIFF_INTEGERS = {3: (2, "H"), 4: (4, "I")}
# Start-of-frame markers: C0-CF without DHT (C4), JPG (C8) and DAC (CC).
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Libjpeg skips FF 00 outside of the pixels; to read a length there would be to look for the frame elsewhere.
JPEG_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})


class Header(NamedTuple):
    """What the first bytes of an image announce."""

    format: str
    width: int
    height: int


def read_header(data: bytes) -> Header:
    """Read the format and the announced size of an encoded image.

    Parameters
    ----------
    data : bytes
        The whole encoded image.

    Returns
    -------
    Header
        Format name (one of ``FORMATS``), width and height in pixels, before any EXIF rotation.

    Raises
    ------
    ImageReadError
        When `data` is empty, of no known format, or its header is damaged.
    """
    if not data:
        raise ImageReadError("the file is empty (0 bytes)")
    for name, signature, parse in PARSERS:
        if re.match(signature, data, re.DOTALL):
            try:
                return Header(name, *parse(data))
            except (struct.error, IndexError, ValueError, OverflowError) as error:
                raise ImageReadError(f"the {name} header is damaged or cut short") from error
    raise ImageReadError(f"not an image of a known format ({', '.join(FORMATS)})")


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the JPEG segments to the frame header."""
    position = 2
    while True:
        while data[position] != 0xFF:
            position += 1
        while data[position] == 0xFF:
            position += 1
        marker = data[position]
        position += 1
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
        if marker in JPEG_WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", data, position)
        position += length


def png_size(data: bytes) -> tuple[int, int]:
    """Read IHDR, which the standard puts first."""
    return struct.unpack_from(">II", data, 16)


def check_png_chunks(data: bytes) -> None:
    """Refuse a PNG in which a chunk claims more bytes than there are: OpenCV would allocate up to 4 GB for it.

    Raises
    ------
    ImageReadError
        Also for a file that is cut short.
    """
    position, kind = 8, b""
    while kind != b"IEND":
        kind = data[position + 4 : position + 8]
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        if position > len(data):
            raise ImageReadError("the PNG data is cut short or damaged")


def gif_size(data: bytes) -> tuple[int, int]:
    """Read the logical screen."""
    return struct.unpack_from("<HH", data, 6)


def bmp_size(data: bytes) -> tuple[int, int]:
    """Read either generation of the BMP header; a negative height only means top-down rows."""
    (header_length,) = struct.unpack_from("<I", data, 14)
    if header_length == 12:
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)


def webp_size(data: bytes) -> tuple[int, int]:
    """Read the canvas of an extended, lossless or lossy WebP."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def tiff_tags(data: bytes) -> dict[int, int]:
    """Read the first directory of a TIFF (or of an EXIF block, which is one).

    Of a tag with several values the first counts; a tag of another type than int is 0.
    """
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    (offset,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, offset)
    tags: dict[int, int] = {}
    for index in range(count):
        at = offset + 2 + 12 * index
        tag, kind, length = struct.unpack_from(order + "HHI", data, at)
        value = 0
        if kind in TIFF_INTEGERS:
            size, code = TIFF_INTEGERS[kind]
            # What does not fit into four bytes stands elsewhere.
            place = at + 8 if length * size <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
            (value,) = struct.unpack_from(order + code, data, place)
        # Of a tag that comes twice libtiff believes the first.
        tags.setdefault(tag, value)
    return tags


def tiff_size(data: bytes) -> tuple[int, int]:
    """Read width and height from the first directory."""
    tags = tiff_tags(data)
    if not {TIFF_WIDTH, TIFF_HEIGHT} <= tags.keys():
        raise ValueError("no size")
    return tags[TIFF_WIDTH], tags[TIFF_HEIGHT]


def avif_size(data: bytes) -> tuple[int, int]:
    """Read the largest spatial extent that any item announces."""
    sizes = [struct.unpack_from(">II", data, match.end() + 4) for match in re.finditer(b"ispe", data[:65536])]
    return max(sizes, key=lambda size: size[0] * size[1])


def avif_transforms(data: bytes) -> tuple[int, int | None]:
    """Return the quarter turns to the left and then the axis to mirror along (None for neither) that an AVIF asks for.

    They are properties of the image, in boxes of their own; its EXIF orientation is only a remark.
    """
    start = max(data.find(b"meta") - 4, 0)
    boxes = data[start : start + int.from_bytes(data[start : start + 4], "big")]
    turn = re.search(rb"\x00\x00\x00\x09irot(.)", boxes, re.DOTALL)
    mirror = re.search(rb"\x00\x00\x00\x09imir(.)", boxes, re.DOTALL)
    return turn[1][0] & 3 if turn else 0, mirror[1][0] & 1 if mirror else None


def jpeg2000_size(data: bytes) -> tuple[int, int]:
    """Read the image header box, or the SIZ marker of a bare codestream."""
    if data[:4] == b"\xff\x4f\xff\x51":
        right, bottom, left, top = struct.unpack_from(">IIII", data, 8)
        return right - left, bottom - top
    sizes = [struct.unpack_from(">II", data, match.end()) for match in re.finditer(b"ihdr", data[:4096])]
    height, width = max(sizes, key=lambda size: size[0] * size[1])
    return width, height


def pnm_size(data: bytes) -> tuple[int, int]:
    """Read the two numbers after the magic, skipping comments."""
    blank = rb"(?:\s|#[^\r\n]*[\r\n])+"
    match = re.match(rb"P[1-6]" + blank + rb"(\d{1,9})" + blank + rb"(\d{1,9})\s", data[:4096])
    if match is None:
        raise ValueError("no size")
    return int(match[1]), int(match[2])


PARSERS = (
    ("JPEG", rb"\xff\xd8\xff", jpeg_size),
    ("PNG", rb"\x89PNG\r\n\x1a\n", png_size),
    ("GIF", rb"GIF8[79]a", gif_size),
    ("WebP", rb"RIFF....WEBP", webp_size),
    ("BMP", rb"BM", bmp_size),
    ("TIFF", rb"II\*\x00|MM\x00\*", tiff_size),
    ("AVIF", rb"....ftyp(?:avif|avis|mif1)", avif_size),
    ("JPEG 2000", rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", jpeg2000_size),
    ("PNM", rb"P[1-6]\s", pnm_size),
)
