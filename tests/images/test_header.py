import struct
import zlib

import numpy as np
import pytest

from skcnn.exceptions import ImageReadError
from skcnn.images import read_header
from skcnn.images._header import FORMATS, avif_transforms, check_png_chunks, tiff_tags

PILLOW_NAMES = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "GIF": "GIF",
    "WebP": "WEBP",
    "BMP": "BMP",
    "TIFF": "TIFF",
    "AVIF": "AVIF",
    "JPEG 2000": "JPEG2000",
    "PNM": "PPM",
}


def tiff(*entries, order="<"):
    """Return a TIFF that is only its first directory, of (tag, type, value)."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    rows = [
        struct.pack(order + "HHI", tag, kind, 1)
        + (struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value))
        for tag, kind, value in entries
    ]
    return mark + struct.pack(order + "IH", 8, len(rows)) + b"".join(rows) + bytes(4)


def test_formats_lists_every_parser():
    assert set(FORMATS) == set(PILLOW_NAMES)


@pytest.mark.parametrize("name", PILLOW_NAMES)
@pytest.mark.parametrize(("height", "width"), [(31, 77), (300, 5)])
def test_reads_what_pillow_wrote(name, height, width, photo, encode):
    header = read_header(encode(photo(height, width), PILLOW_NAMES[name]))
    assert header == (name, width, height)
    assert (header.format, header.width, header.height) == (name, width, height)


def test_three_kinds_of_webp(photo, encode):
    pixels = photo(33, 41)
    lossy = encode(pixels, "WEBP", quality=50)
    lossless = encode(pixels, "WEBP", lossless=True)
    extended = encode(pixels, "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    assert [data[12:16] for data in (lossy, lossless, extended)] == [b"VP8 ", b"VP8L", b"VP8X"]
    assert [read_header(data)[1:] for data in (lossy, lossless, extended)] == [(41, 33)] * 3


def test_jpeg_thumbnail_in_exif_is_passed_over(photo, encode):
    thumbnail = encode(photo(8, 9), "JPEG")
    data = encode(photo(33, 41), "JPEG", exif=b"Exif\0\0" + thumbnail)
    assert data.count(b"\xff\xd8\xff") == 2
    assert read_header(data) == ("JPEG", 41, 33)


def test_jpeg_header_is_found_where_libjpeg_finds_it():
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 50_000, 60_000, 1) + b"\x01\x11\0"
    decoy = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 4, 4, 1) + b"\x01\x11\0"
    # Were FF 00 taken for a segment, its length would lead past the true frame to the decoy.
    skipped = b"\xff\x00" + struct.pack(">H", 2 + len(frame))
    assert read_header(b"\xff\xd8" + skipped + frame + decoy) == ("JPEG", 60_000, 50_000)


@pytest.mark.parametrize("height", [20, -20])
def test_bmp_rows_may_run_either_way(height):
    data = b"BM" + bytes(12) + struct.pack("<Iii", 40, 30, height) + bytes(28)
    assert read_header(data) == ("BMP", 30, 20)


def test_bmp_of_the_first_generation():
    assert read_header(b"BM" + bytes(12) + struct.pack("<IHH", 12, 30, 20) + bytes(4)) == ("BMP", 30, 20)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [3, 4])
def test_tiff_of_either_byte_order_and_integer_type(order, kind):
    assert read_header(tiff((256, kind, 30), (257, kind, 20), order=order)) == ("TIFF", 30, 20)


def test_tiff_tag_given_twice_counts_the_first_time():
    data = tiff((256, 4, 60_000), (256, 4, 3), (257, 4, 50_000), (257, 4, 2))
    assert read_header(data) == ("TIFF", 60_000, 50_000)


def test_tiff_tags_of_another_type_are_zero():
    assert tiff_tags(tiff((256, 2, 7), (256, 4, 9), (274, 3, 6))) == {256: 0, 274: 6}


def test_bare_jpeg2000_codestream(photo, encode):
    data = encode(photo(33, 41), "JPEG2000")
    stream = data[data.index(b"\xff\x4f\xff\x51") :]
    assert read_header(stream) == ("JPEG 2000", 41, 33)


def test_jpeg2000_decoy_before_the_header_box(photo, encode):
    data = encode(photo(33, 41), "JPEG2000")
    decoy = b"ihdr" + struct.pack(">II", 2, 3)
    assert read_header(data[:12] + decoy + data[12:]) == ("JPEG 2000", 41, 33)


@pytest.mark.parametrize(
    "text",
    [
        b"P6 30 20 255\n",
        b"P5\n30\n20\n255\n",
        b"P6\n# made by hand\n30 # wide\n 20 255\n",
        b"P4 30 20\n",
        b"P6 #\r30 20 255 \n4 4\n",  # a carriage return ends a comment, too
    ],
)
def test_pnm_with_comments(text):
    assert read_header(text) == ("PNM", 30, 20)


@pytest.mark.parametrize(
    ("orientation", "transforms"),
    [
        (1, (0, None)),
        (2, (0, 1)),
        (3, (2, None)),
        (4, (0, 0)),
        (5, (1, 0)),
        (6, (3, None)),
        (7, (3, 0)),
        (8, (1, None)),
    ],
)
def test_avif_transforms(orientation, transforms, photo, encode):
    from PIL import Image

    exif = Image.Exif()
    exif[274] = orientation
    assert avif_transforms(encode(photo(), "AVIF", exif=exif)) == transforms


def test_avif_transforms_of_something_else():
    assert avif_transforms(b"no boxes at all") == (0, None)


def test_no_bytes():
    with pytest.raises(ImageReadError, match=r"^the file is empty \(0 bytes\)$"):
        read_header(b"")


@pytest.mark.parametrize(
    "data", [b"\0", b"<html>404</html>", b"BA", b"GIF88a" + bytes(20), b"RIFF1234WAVE", b"P7 3 3 "]
)
def test_other_formats(data):
    with pytest.raises(ImageReadError, match=r"^not an image of a known format \(JPEG, PNG, GIF, .*, PNM\)$"):
        read_header(data)


@pytest.mark.parametrize("name", PILLOW_NAMES)
def test_header_cut_short(name, photo, encode):
    data = encode(photo(), PILLOW_NAMES[name])
    # Long enough to know the format, too short to know the size; a TIFF written by Pillow ends with its directory.
    length = {"PNM": 4, "TIFF": 9, "JPEG": 30, "GIF": 8, "PNG": 20, "BMP": 20, "WebP": 18, "JPEG 2000": 40}.get(
        name, 32
    )
    with pytest.raises(ImageReadError, match=f"^the {name} header is damaged or cut short$") as caught:
        read_header(data[:length])
    assert caught.value.__cause__ is not None


def test_tiff_without_a_size():
    with pytest.raises(ImageReadError, match="the TIFF header is damaged"):
        read_header(tiff((256, 4, 30)))


def test_png_chunks_of_whole_files(photo, encode):
    data = encode(photo())
    check_png_chunks(data)
    check_png_chunks(data + b"appended by a careless camera")


@pytest.mark.parametrize("end", [-1, -12, -13, 60, 8])
def test_png_chunks_cut_short(end, photo, encode):
    with pytest.raises(ImageReadError, match="the PNG data is cut short or damaged"):
        check_png_chunks(encode(photo())[:end])


def test_png_chunk_that_claims_two_gigabytes(photo, encode):
    data = bytearray(encode(photo()))
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 0x7FFFFFFF)
    with pytest.raises(ImageReadError, match="cut short or damaged"):
        check_png_chunks(bytes(data))


def test_png_without_pixels_ends():
    chunk = b"IEND"
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0) + chunk + struct.pack(">I", zlib.crc32(chunk))
    check_png_chunks(data)
    with pytest.raises(ImageReadError, match="the PNG header is damaged"):
        read_header(data[:20])


def test_random_bytes_behind_every_signature():
    random = np.random.default_rng(0)
    for _ in range(300):
        for start in (b"\xff\xd8\xff", b"BM", b"II*\0\x08\0\0\0", b"P6 ", b"\0\0\0 ftypavif", b"RIFF\0\0\0\0WEBPVP8X"):
            data = start + random.bytes(int(random.integers(0, 80)))
            try:
                header = read_header(data)
            except ImageReadError:
                continue
            assert header.format in FORMATS
