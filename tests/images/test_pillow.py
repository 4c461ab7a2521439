import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from skcnn.exceptions import ImageReadError
from skcnn.images import decode_image
from skcnn.images._pillow import lay_over_white, orientation_of, turn_upright, upright_rgb

# Colour, grey, alpha, palettes, CMYK


def test_channels_are_red_green_blue(encode):
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert decode_image(encode(pixels)).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    red = decode_image(encode(np.full((16, 16, 3), (250, 10, 10), np.uint8), "JPEG"))
    assert np.abs(red.astype(int) - (250, 10, 10)).max() <= 3


@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {}), ("JPEG2000", {})],
)
def test_rgba_is_laid_over_white(format, options, encode):
    rgba = [[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128], [0, 0, 0, 51]]]
    # c * a / 255 + 255 - a: 200 * 128 / 255 + 127 = 227.4, 100 -> 177.2, 50 -> 152.1; black at a fifth -> 204.
    expected = [[[200, 100, 50], [255, 255, 255], [227, 177, 152], [204, 204, 204]]]
    decoded = decode_image(encode(np.array(rgba, np.uint8), format, **options))
    assert decoded.tolist() == expected


def test_avif_alpha(photo, encode, pillow_pixels, assert_close):
    rgba = np.dstack([photo(), photo(seed=1)[..., 0]])
    data = encode(rgba, "AVIF", quality=90)
    assert_close(decode_image(data), pillow_pixels(data), 3)


def test_grey_with_alpha_is_laid_over_white(encode):
    pixels = Image.fromarray(np.array([[[200, 255], [200, 0], [200, 128], [0, 51]]], np.uint8), "LA")
    assert decode_image(encode(pixels)).tolist() == [[[200] * 3, [255] * 3, [227] * 3, [204] * 3]]


def test_grey_tiff_with_alpha(encode):
    pixels = Image.fromarray(np.array([[[200, 255], [200, 0]]], np.uint8), "LA")
    assert decode_image(encode(pixels, "TIFF")).tolist() == [[[200] * 3, [255] * 3]]


def test_grey_png_with_a_transparent_shade(encode):
    pixels = Image.fromarray(np.array([[10, 20]], np.uint8))
    assert decode_image(encode(pixels, transparency=20)).tolist() == [[[10] * 3, [255] * 3]]


def test_rgb_png_with_a_transparent_colour(encode):
    pixels = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    assert decode_image(encode(pixels, transparency=(40, 50, 60))).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette(format, photo, encode, pillow_pixels, assert_close):
    data = encode(Image.fromarray(photo()).quantize(16), format)
    assert Image.open(io.BytesIO(data)).mode == "P"
    assert_close(decode_image(data), pillow_pixels(data), 0)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette_with_one_transparent_entry(format, encode):
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    data = encode(image, format, transparency=1)
    assert decode_image(data).tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]


def test_palette_with_opacities(encode):
    image = Image.new("P", (3, 1))
    image.putpalette([200, 100, 50] * 3)
    image.putdata([0, 1, 2])
    data = encode(image, transparency=bytes([255, 128, 0]))
    assert decode_image(data).tolist() == [[[200, 100, 50], [227, 177, 152], [255, 255, 255]]]


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format, photo, encode, pillow_pixels, assert_close):
    options = {"quality": 95} if format == "JPEG" else {}
    data = encode(Image.fromarray(photo()).convert("CMYK"), format, **options)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert_close(decode_image(data), pillow_pixels(data), 3)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_one_bit(format, encode):
    image = Image.fromarray(np.array([[True, False, False, True, True, False, True, False, True]]))
    assert image.mode == "1"
    assert decode_image(encode(image, format))[0, :, 0].tolist() == [255, 0, 0, 255, 255, 0, 255, 0, 255]


# Wider samples


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG2000", "PPM"])
def test_16_bits_are_scaled_exactly(format, encode):
    samples = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    decoded = decode_image(encode(Image.fromarray(samples), format))
    expected = np.rint(samples / 257).astype(np.uint8)
    np.testing.assert_array_equal(decoded, np.repeat(expected[..., np.newaxis], 3, axis=2))
    # A plain shift by 8 bits would give 0 for 255 and 254 for 65,279.
    assert decoded[0, [0, 128, 129, 255], 0].tolist() == [0, 0, 1, 1]
    assert decoded[254, 255, 0] == 254


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour_keeps_its_upper_bits(suffix):
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    samples[0, 0], samples[0, 1] = 0, 65535
    decoded = decode_image(cv2.imencode(suffix, samples)[1].tobytes())
    assert np.abs(decoded.astype(int) - samples[..., ::-1] / 257).max() < 1
    assert decoded[0, :2].tolist() == [[0] * 3, [255] * 3]


def test_16_bit_alpha():
    bgra = np.array([[[0, 0, 51400, 65535], [0, 0, 51400, 32896], [0, 0, 51400, 0]]], np.uint16)
    data = cv2.imencode(".png", bgra)[1].tobytes()
    assert decode_image(data).tolist() == [[[200, 0, 0], [227, 127, 127], [255, 255, 255]]]


def png(samples, bits, transparent, *, colour=0):
    """Return a PNG of samples of any depth, one of them transparent; Pillow does not write such files."""
    rows = [b"\0" + pack_rows(row, bits) for row in samples]

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colour, 0, 0, 0)
    shade = struct.pack(f">{len(transparent)}H", *transparent)
    body = chunk(b"IHDR", header) + chunk(b"tRNS", shade) + chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def pack_rows(row, bits):
    return np.packbits(((row.reshape(-1, 1) >> np.arange(bits)[::-1]) & 1).astype(np.uint8)).tobytes()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_transparent_shade_of_every_depth(bits):
    most = (1 << bits) - 1
    samples = np.array([[0, most // 2, most]])
    expected = np.rint(samples * 255 / most)
    for shade in (0, most // 2, most):
        data = png(samples, bits, [shade])
        assert decode_image(data)[..., 0].tolist() == np.where(samples == shade, 255, expected).tolist()
        opened = upright_rgb(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(opened, decode_image(data))


def test_one_transparent_colour_of_16_bits_is_refused():
    data = png(np.zeros((1, 2, 3), int), 16, [1, 2, 3], colour=2)
    with pytest.raises(ImageReadError, match=r"a PNG of a variant that is not read \(16 bits with one transparent col"):
        decode_image(data)


@pytest.mark.parametrize("maxval", [1, 3, 15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_pnm_is_scaled_by_its_largest_value(maxval, channels):
    samples = np.linspace(0, maxval, 12 * channels).round().astype(int).reshape(3, 4, channels)
    body = samples.astype(">u2" if maxval > 255 else "u1").tobytes()
    decoded = decode_image(f"P{5 if channels == 1 else 6}\n4 3\n{maxval}\n".encode() + body)
    assert np.abs(decoded - samples * 255 / maxval).max() <= 1
    assert decoded[-1, -1, -1] == 255


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif(bits, photo):
    pixels = photo(32, 48)
    samples = (pixels[..., ::-1].astype(int) * ((1 << bits) - 1) // 255).astype(np.uint16)
    data = cv2.imencode(".avif", samples, [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 100])[1].tobytes()
    assert np.abs(decode_image(data).astype(int) - pixels).mean() < 3


@pytest.mark.parametrize(("dtype", "mode"), [(np.float32, "F"), (np.int32, "I")])
def test_samples_without_a_fixed_range_are_refused(dtype, mode, encode):
    image = Image.fromarray(np.ones((4, 5), dtype))
    with pytest.raises(ImageReadError, match="the TIFF holds samples of 32 bits .*, whose range is not fixed; .* pass"):
        decode_image(encode(image, "TIFF"))
    with pytest.raises(ImageReadError, match=f"samples of Pillow's mode {mode}, whose range is not fixed; scale it to"):
        upright_rgb(image)


@pytest.mark.parametrize("mode", ["La", "RGBa", "LA", "RGBA"])
def test_every_mode_with_opacity(mode):
    image = Image.new("RGBA", (2, 1), (200, 200, 200, 128))
    image.putpixel((1, 0), (0, 0, 0, 0))
    decoded = upright_rgb(image.convert("LA").convert(mode) if "L" in mode else image.convert(mode))
    assert np.abs(decoded.astype(int) - [[[227] * 3, [255] * 3]]).max() <= 1


def test_palette_beside_opacity():
    image = Image.new("PA", (2, 1))
    image.putpalette([200, 100, 50])
    image.putdata([(0, 128), (0, 0)])
    assert upright_rgb(image).tolist() == [[[227, 177, 152], [255] * 3]]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_every_mode_without(mode, photo, assert_close):
    image = Image.fromarray(photo()).convert(mode)
    assert_close(upright_rgb(image), np.asarray(image.convert("RGB")), 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_lay_over_white(dtype):
    rgba = np.array([[[200, 100, 50, 128], [0, 255, 7, 255], [9, 9, 9, 0]]], dtype)
    kept = rgba.copy()
    blended = lay_over_white(rgba)
    assert blended.dtype == dtype
    tolerance = 0 if dtype is np.uint8 else 1e-4
    exact = [[227.3922, 177.1961, 152.0980], [0, 255, 7], [255, 255, 255]]
    np.testing.assert_allclose(blended[0], np.rint(exact) if dtype is np.uint8 else exact, atol=tolerance)
    np.testing.assert_array_equal(rgba, kept)


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 3),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {}, 0),
        ("AVIF", {"quality": 95}, 3),
    ],
)
def test_turned_upright(format, options, tolerance, orientation, photo, encode, pillow_pixels, assert_close, with_exif):
    pixels = photo(24, 40)
    data = encode(pixels, format, exif=with_exif(orientation), **options)
    decoded = decode_image(data)
    assert decoded.shape == ((24, 40, 3) if orientation < 5 else (40, 24, 3))
    assert decoded.flags.c_contiguous
    # Pillow turns a TIFF while loading it; exif_transpose has nothing left to do.
    assert_close(decoded, pillow_pixels(data, upright=True), tolerance)


def test_turn_upright_by_hand():
    stored = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., np.newaxis]
    turned = {number: turn_upright(stored, number)[..., 0].tolist() for number in range(10)}
    assert turned == {
        0: [[1, 2, 3], [4, 5, 6]],
        1: [[1, 2, 3], [4, 5, 6]],
        2: [[3, 2, 1], [6, 5, 4]],
        3: [[6, 5, 4], [3, 2, 1]],
        4: [[4, 5, 6], [1, 2, 3]],
        5: [[1, 4], [2, 5], [3, 6]],
        6: [[4, 1], [5, 2], [6, 3]],
        7: [[6, 3], [5, 2], [4, 1]],
        8: [[3, 6], [2, 5], [1, 4]],
        9: [[1, 2, 3], [4, 5, 6]],
    }


@pytest.mark.parametrize("block", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_damaged_exif_is_ignored(format, block, photo, encode):
    data = encode(photo(24, 40), format, exif=block)
    assert decode_image(data).shape == (24, 40, 3)


XMP = '<x:xmpmeta><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


@pytest.mark.parametrize("exif", [None, b"Exif\0\0", b"Exif\0\0garbage"])
@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_xmp_counts_where_exif_says_nothing(format, exif, photo, encode):
    options = {"exif": exif} if exif else {}
    if format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.format(8))
    else:
        options["xmp"] = XMP.format(8).encode()
    assert decode_image(encode(photo(24, 40), format, **options)).shape == (40, 24, 3)


def test_exif_counts_more_than_xmp(photo, encode, with_exif):
    data = encode(photo(24, 40), "JPEG", exif=with_exif(1), xmp=XMP.format(8).encode())
    assert decode_image(data).shape == (24, 40, 3)


def test_exif_after_a_long_block_of_xmp(photo, encode, with_exif):
    plain = encode(photo(24, 40), "JPEG")
    exif = encode(photo(24, 40), "JPEG", exif=with_exif(6))
    start = exif.index(b"\xff\xe1")
    block = exif[start : start + 2 + int.from_bytes(exif[start + 2 : start + 4], "big")]
    xmp = b"http://ns.adobe.com/xmp/extension/\0" + bytes(50_000)
    long = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    assert decode_image(plain[:2] + long + block + plain[2:]).shape == (40, 24, 3)


@pytest.mark.parametrize("value", [0, 9, 65535, "6", (6, 6)])
def test_orientations_that_there_are_not(value, photo, encode):
    exif = Image.Exif()
    exif[274] = value
    image = Image.fromarray(photo(24, 40))
    image.getexif()[274] = value
    assert orientation_of(image) == 1


def test_damaged_metadata_warns_of_nothing(photo, encode, with_exif, recwarn):
    block = with_exif(6).tobytes()
    for length in range(8, len(block)):
        assert decode_image(encode(photo(24, 40), "JPEG", exif=block[:length])).shape in ((24, 40, 3), (40, 24, 3))
    assert not recwarn.list


def test_exif_rotates_alpha_too(encode, with_exif):
    rgba = np.array([[[10, 20, 30, 255], [40, 50, 60, 0]]], np.uint8)
    assert decode_image(encode(rgba, exif=with_exif(6))).tolist() == [[[10, 20, 30]], [[255, 255, 255]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_image_laid_over_white_in_strips_is_the_same(monkeypatch, dtype):
    rgba = np.random.default_rng(0).integers(0, 256, (37, 11, 4)).astype(dtype)
    whole = lay_over_white(rgba)
    monkeypatch.setattr("skcnn.images._pillow.BLEND_PIXELS", 50)
    np.testing.assert_array_equal(lay_over_white(rgba), whole)
