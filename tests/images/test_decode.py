import io
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile

from skcnn.exceptions import ImageReadError
from skcnn.images import _formats, decode_image
from skcnn.images._decode import MAX_PIXELS

# name: (Pillow's format, options, largest difference from Pillow's own pixels)
FORMATS = {
    "jpeg": ("JPEG", {"quality": 95}, 3),
    "progressive jpeg": ("JPEG", {"progressive": True}, 3),
    "png": ("PNG", {}, 0),
    "bmp": ("BMP", {}, 0),
    "gif": ("GIF", {}, 0),
    "webp": ("WEBP", {"quality": 90}, 3),
    "lossless webp": ("WEBP", {"lossless": True}, 0),
    "tiff": ("TIFF", {}, 0),
    "lzw tiff": ("TIFF", {"compression": "tiff_lzw"}, 0),
    "avif": ("AVIF", {"quality": 90}, 3),
    "jpeg 2000": ("JPEG2000", {}, 0),
    "pnm": ("PPM", {}, 0),
}


@pytest.fixture
def no_decoding(monkeypatch):
    """Fail when anything is decoded."""

    def refuse(*args):
        pytest.fail("the image was decoded")

    monkeypatch.setattr("skcnn.images._decode.decode_jpeg", refuse)
    monkeypatch.setattr("skcnn.images._decode.upright_rgb", refuse)


# Formats


@pytest.mark.parametrize("name", FORMATS)
def test_colour(name, photo, encode, pillow_pixels, assert_close):
    format, options, tolerance = FORMATS[name]
    data = encode(photo(37, 53), format, **options)
    assert_close(decode_image(data), pillow_pixels(data), tolerance)


@pytest.mark.parametrize("name", FORMATS)
def test_grey_becomes_three_equal_channels(name, photo, encode, pillow_pixels, assert_close):
    format, options, tolerance = FORMATS[name]
    data = encode(photo(37, 53)[..., 0], format, **options)
    decoded = decode_image(data)
    assert_close(decoded, pillow_pixels(data), tolerance)
    assert np.abs(np.ptp(decoded.astype(int), axis=2)).max() <= tolerance


# JPEG


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}, {"quality": 30}]
)
@pytest.mark.parametrize("grey", [False, True])
def test_jpeg_is_equal_to_what_opencv_decodes(options, grey, photo, encode):
    data = encode(photo(67, 93)[..., 0] if grey else photo(67, 93), "JPEG", **options)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(decode_image(data), expected)


def test_what_follows_the_image_is_passed_over(photo, encode):
    data = encode(photo(), "JPEG")
    np.testing.assert_array_equal(decode_image(data + b"a video of Google's" * 9), decode_image(data))


def test_bytes_between_segments_are_passed_over(photo, encode):
    data = encode(photo(), "JPEG")
    tables = data.index(b"\xff\xdb")
    decoded = decode_image(data[:tables] + b"\0\1\2" + data[tables:])
    np.testing.assert_array_equal(decoded, decode_image(data))


def segment(marker, body):
    return bytes([255, marker]) + struct.pack(">H", len(body) + 2) + body


def test_lossless_jpeg_is_read():
    frame, table = struct.pack(">BHHB", 8, 8, 8, 1) + b"\1\x11\0", b"\0\1" + bytes(15) + b"\0"
    data = segment(0xC3, frame) + segment(0xC4, table) + segment(0xDA, b"\1\1\0\1\0\0") + bytes(8)
    assert decode_image(b"\xff\xd8" + data + b"\xff\xd9").shape == (8, 8, 3)


def test_jpeg_of_12_bits_is_named(photo, encode):
    data = bytearray(encode(photo(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageReadError, match=r"it is a JPEG of a variant that is not read \(.*12-bit.*\); convert it"):
        decode_image(bytes(data))


# Animations


@pytest.mark.parametrize(
    ("format", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("AVIF", {}), ("TIFF", {})]
)
def test_first_frame_of_several(format, options, photo, encode, pillow_pixels, assert_close):
    first, second = Image.fromarray(photo()), Image.fromarray(255 - photo())
    data = encode(first, format, save_all=True, append_images=[second], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert_close(decode_image(data), pillow_pixels(data), 3 if format == "AVIF" else 0)


# Damage


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("name", FORMATS)
def test_truncated(name, fraction, photo, encode):
    format, options, _ = FORMATS[name]
    data = encode(photo(96, 128), format, **options)
    with pytest.raises(ImageReadError, match=r"cut short|damaged"):
        decode_image(data[: int(len(data) * fraction)])


def test_png_with_a_flipped_bit_is_refused_as_by_pillow(photo, encode, pillow_pixels):
    data = encode(photo(48, 64), "PNG")
    start = data.index(b"IDAT") + 4
    n_refused = 0
    for bit in np.random.default_rng(0).integers(8 * start, 8 * (len(data) - 16), 100):
        damaged = flip(data, int(bit))
        try:
            expected = pillow_pixels(damaged)
        except (OSError, SyntaxError, ValueError):
            n_refused += 1
            with pytest.raises(ImageReadError, match="cut short or damaged"):
                decode_image(damaged)
        else:
            np.testing.assert_array_equal(decode_image(damaged), expected)
    assert n_refused > 90


def test_pngs_are_decoded_in_parallel(monkeypatch, encode, photo):
    load = PngImageFile.load

    def load_unlocked(image):
        assert not _formats._pillow_warnings._lock.locked()
        return load(image)

    monkeypatch.setattr(PngImageFile, "load", load_unlocked)
    assert decode_image(encode(photo(4, 5), "PNG")).shape == (4, 5, 3)


JPEGS = {
    "colour": ("RGB", {"quality": 90}),
    "grey": ("L", {"quality": 90}),
    "progressive": ("RGB", {"progressive": True}),
    "restart markers": ("RGB", {"restart_marker_rows": 1}),
    "CMYK": ("CMYK", {"quality": 90}),
}


@pytest.mark.parametrize("at_least", [None, (12, 16)])
@pytest.mark.parametrize("fraction", [0.4, 0.7, 0.95])
@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_cut_and_closed_with_an_end_marker(name, fraction, at_least, photo):
    mode, options = JPEGS[name]
    data = encoded_jpeg(photo(96, 128), mode, options)
    with pytest.raises(ImageReadError, match="the JPEG data is cut short or damaged"):
        decode_image(data[: int(len(data) * fraction)] + b"\xff\xd9", at_least=at_least)


def encoded_jpeg(pixels, mode, options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def test_truncated_jpeg_where_pillow_is_set_to_show_it(photo, encode, monkeypatch):
    data = encode(photo(96, 128), "JPEG")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert decode_image(data[: len(data) // 2] + b"\xff\xd9").shape == (96, 128, 3)


def test_jpeg_with_bytes_too_many_before_a_marker_is_read(photo, encode, pillow_pixels, assert_close):
    data = encode(photo(96, 128), "JPEG")
    for bit in range(8 * (len(data) - 200), 8 * len(data)):
        damaged = flip(data, bit)
        with suppress(ValueError):
            simplejpeg.decode_jpeg(damaged)
            continue
        with suppress(ImageReadError):
            assert_close(decode_image(damaged), pillow_pixels(damaged), 3)
            return
    pytest.fail("no such file was made")


def flip(data, bit):
    """Return `data` with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("largest", [255, 1000])
def test_an_ascii_pnm_cut_anywhere(largest):
    samples = np.random.default_rng(0).integers(0, largest + 1, (5, 4, 3))
    data = f"P3\n4 5\n{largest}\n{' '.join(map(str, samples.ravel()))}\n".encode()
    whole = decode_image(data)
    for length in range(len(data)):
        with suppress(ImageReadError):
            np.testing.assert_array_equal(decode_image(data[:length]), whole)


@pytest.mark.parametrize("last", [b"0", b"26", b"255"])
def test_an_ascii_pnm_without_a_line_break_at_its_end(last):
    assert decode_image(b"P2 2 1 255 7 " + last).shape == (1, 2, 3)
    with pytest.raises(ImageReadError, match=r"ends within its last number \(25\); if it is whole, add a line break"):
        decode_image(b"P2 2 1 255 7 25")


LONG = 4 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"P6\n" + b"#\n" * (LONG // 2) + b"1 1\n255\nabc",
        b"P6\n#" + b"x" * LONG + b"\n1 1\n255\nabc",
        b"\xff\xd8\xff" + bytes(LONG),
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * (LONG // 4),
        b" " * LONG,
        b"a" * LONG,
    ],
    ids=["comments", "a comment", "no segments", "empty segments", "blanks", "letters"],
)
def test_megabytes_without_an_image_are_refused_soon(data, monkeypatch):
    monkeypatch.setattr("skcnn.images._formats.MAX_READS", 10_000)
    monkeypatch.setattr("skcnn.images._formats.EncodedImage.reads_left", 10_000)
    tracemalloc.start()
    try:
        with pytest.raises(ImageReadError, match=r"after reading 10,000 pieces|not an image"):
            decode_image(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * LONG
    finally:
        tracemalloc.stop()


def test_no_bytes():
    with pytest.raises(ImageReadError, match=r"the file is empty \(0 bytes\)"):
        decode_image(b"")


def png(width, height):
    """Return a PNG whose header announces a size that its pixels do not have."""
    data = bytearray(encode_small("PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def jpeg(width, height):
    data = bytearray(encode_small("JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif(width, height):
    data = bytearray(encode_small("GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def bmp(width, height):
    data = bytearray(encode_small("BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def pnm(width, height):
    return f"P6 {width} {height} 255 ".encode() + bytes(100)


def jpeg2000(width, height):
    data = bytearray(encode_small("JPEG2000"))
    box, stream = data.index(b"ihdr"), data.index(b"\xff\x4f\xff\x51")
    data[box + 4 : box + 12] = struct.pack(">II", height, width)
    data[stream + 8 : stream + 16] = struct.pack(">II", width, height)
    return bytes(data)


def avif(width, height):
    data = bytearray(encode_small("AVIF"))
    box = data.index(b"ispe")
    data[box + 8 : box + 16] = struct.pack(">II", width, height)
    return bytes(data)


def tiff(width, height):
    data = bytearray(encode_small("TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    for index in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * index
        (tag,) = struct.unpack_from("<H", data, at)
        if tag in (256, 257):
            data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, width if tag == 256 else height)
    return bytes(data)


def encode_small(format):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (10, 200, 30)).save(buffer, format)
    return buffer.getvalue()


MAKERS = [png, jpeg, gif, bmp, pnm, jpeg2000, avif, tiff]


@pytest.mark.parametrize("make", MAKERS)
def test_patched_headers_are_read_as_meant(make):
    with pytest.raises(ImageReadError, match=r"announces 300 x 200 pixels, more than max_pixels=59999;"):
        decode_image(make(300, 200), max_pixels=59_999)
    # The makers patch the right bytes: with the true size there is an image again.
    if make is not pnm:
        assert decode_image(make(20, 10)).shape == (10, 20, 3)


@pytest.mark.parametrize("make", MAKERS)
def test_bomb_is_refused_before_it_is_decoded(make, no_decoding):
    # The library behind AVIF has a limit of its own.
    match = "the AVIF data is" if make is avif else f"60000 x 60000 pixels, more than max_pixels={MAX_PIXELS}; if the"
    with pytest.raises(ImageReadError, match=match):
        decode_image(make(60_000, 60_000))


@pytest.mark.parametrize("make", [png, jpeg, bmp, pnm, tiff])
@pytest.mark.parametrize("size", [(0, 0), (0, 10), (20, 0)])
def test_header_without_pixels(make, size, no_decoding):
    with pytest.raises(ImageReadError, match="data is cut short or damaged .its header announces no pixels."):
        decode_image(make(*size))


def test_bmp_of_negative_width(no_decoding):
    with pytest.raises(ImageReadError, match="announces 4294967276 x 10 pixels, more than max_pixels"):
        decode_image(bmp(-20, 10))


def test_max_pixels_is_the_most_there_may_be():
    data = encode_small("PNG")
    assert decode_image(data, max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(ImageReadError, match=r"20 x 10 pixels, more than max_pixels=199"):
        decode_image(data, max_pixels=199)


def test_png_chunk_that_claims_more_bytes_than_there_are():
    data = bytearray(encode_small("PNG"))
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 0x7FFFFFF0)
    tracemalloc.start()
    with suppress(ImageReadError):
        decode_image(bytes(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 << 20


def test_errors_keep_their_cause():
    with pytest.raises(ImageReadError, match=r"^the PNG data is cut short or damaged \(.+\)$") as caught:
        decode_image(encode_small("PNG")[:45])
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_memory_that_runs_out_is_no_damage(format, monkeypatch):
    def fail(*args, **options):
        raise MemoryError

    monkeypatch.setattr("skcnn.images._decode.upright_rgb", fail)
    monkeypatch.setattr("skcnn.images._decode.decode_jpeg", fail)
    with pytest.raises(MemoryError):
        decode_image(encode_small(format))


@given(st.binary(max_size=200))
def test_random_bytes(data):
    with pytest.raises(ImageReadError):
        decode_image(data)


@given(
    st.sampled_from(
        [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"P6 9 9 255 ", b"P5 1 1 65535\n"]
    ),
    st.binary(max_size=400),
)
def test_random_bytes_behind_a_signature(start, data):
    with suppress(ImageReadError):
        assert decode_image(start + data, max_pixels=10_000).dtype == np.uint8


# Reduced decoding


@pytest.mark.parametrize(
    ("at_least", "scale"),
    [
        ((100, 100), 4),
        ((75, 100), 8),
        ((75, 101), 4),
        ((76, 10), 4),
        ((10, 76), 8),
        ((151, 151), 2),
        ((301, 301), 1),
        ((999, 5), 1),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_smallest_scale_that_covers(at_least, scale, orientation, photo, encode, with_exif):
    stored = photo(600, 800) if orientation == 1 else photo(800, 600)
    data = encode(stored, "JPEG", quality=90, exif=with_exif(orientation))
    assert decode_image(data, at_least=at_least).shape == (600 // scale, 800 // scale, 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_reduced_decoding_is_close_to_resizing(orientation, photo, encode, with_exif):
    data = encode(photo(601, 803), "JPEG", quality=95, exif=with_exif(orientation))
    reduced = decode_image(data, at_least=(140, 90))
    exact = decode_image(data)
    assert exact.shape[:2] == ((601, 803) if orientation < 5 else (803, 601))
    # ceil(601 / 4) and ceil(803 / 4)
    assert reduced.shape[:2] == ((151, 201) if orientation < 5 else (201, 151))
    resized = cv2.resize(exact, reduced.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(int) - resized).mean() < 1.5


def test_reduced_decoding_gives_rgb(encode):
    data = encode(np.full((400, 400, 3), (250, 10, 60), np.uint8), "JPEG", quality=95)
    decoded = decode_image(data, at_least=(50, 50))
    assert decoded.shape == (50, 50, 3)
    assert np.abs(decoded.astype(int) - (250, 10, 60)).max() <= 4


def test_grey_and_cmyk_can_be_reduced(photo, encode):
    grey = encode(photo(400, 400)[..., 0], "JPEG")
    cmyk = encode(Image.fromarray(photo(400, 400)).convert("CMYK"), "JPEG")
    assert decode_image(grey, at_least=(100, 100)).shape == (100, 100, 3)
    assert decode_image(cmyk, at_least=(100, 100)).shape == (100, 100, 3)


@pytest.mark.parametrize("format", ["PNG", "BMP", "WEBP"])
def test_other_formats_are_never_reduced(format, photo, encode):
    data = encode(photo(400, 300), format)
    np.testing.assert_array_equal(decode_image(data, at_least=(10, 10)), decode_image(data))


# Memory ---------------------------------------------------------------------------------------------------------------

PEAK = """
import sys
from pathlib import Path
from skcnn.exceptions import ImageReadError
from skcnn.images import decode_image

def peak():
    return 1024 * int(next(line for line in Path("/proc/self/status").read_text().split("\\n") if "VmHWM" in line).split()[1])

small, large = (Path(path).read_bytes() for path in sys.argv[1:3])
try:
    decode_image(small)  # loads what decoding needs
except ImageReadError:
    pass
Path("/proc/self/clear_refs").write_text("5")
before = peak()
try:
    decode_image(large)
except ImageReadError as error:
    print(error, file=sys.stderr)
print(peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="measures memory by /proc")
@pytest.mark.parametrize(
    ("suffix", "dtype", "channels", "limit"),
    [
        pytest.param(".png", np.uint8, 4, 20, marks=pytest.mark.slow),
        pytest.param(".png", np.uint16, 4, 28, marks=pytest.mark.slow),
        (".jpg", np.uint8, 3, 10),
        pytest.param(".tiff", np.float32, 3, 2, marks=pytest.mark.slow),
        (".tiff", np.float64, 3, 2),
    ],
)
def test_bytes_for_each_pixel_while_decoding(tmp_path, suffix, dtype, channels, limit):
    paths = []
    for side in (16, 2048):
        pixels = np.ones((side, side, channels), dtype)
        pixels[::2] = 200
        paths.append(tmp_path / f"{side}{suffix}")
        assert cv2.imwrite(str(paths[-1]), pixels)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, paths)], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) / 2048**2 < limit
    assert ("whose range is not fixed" in done.stderr) == np.issubdtype(dtype, np.floating)
