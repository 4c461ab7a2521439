import io
import struct

import numpy as np
import PIL
import pytest
from PIL import Image

from skcnn.exceptions import ImageReadError
from skcnn.images import decode_image
from skcnn.images._pillow import upright_rgb

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6


def samples_of(bits, channels=1, *, shape=(8, 16)):
    """Return samples of all values from 0 to the largest, shape (height, width, channels)."""
    steps = np.linspace(0, (1 << bits) - 1, int(np.prod(shape)) * channels).round().astype(int)
    return steps.reshape(*shape, channels)


def refusal(data):
    with pytest.raises(ImageReadError) as caught:
        decode_image(data)
    return str(caught.value)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_grey_of_every_depth(bits, photometric, make_tiff):
    samples = samples_of(bits)
    expected = samples[..., 0] * 255 / ((1 << bits) - 1)
    if photometric == WHITE_IS_ZERO:
        expected = 255 - expected
    data = make_tiff(samples, bits, photometric)
    decoded = decode_image(data)
    assert np.abs(decoded[..., 0] - expected).max() <= 0.5
    if bits != 12 or photometric == BLACK_IS_ZERO:  # else Pillow opens it only for us
        np.testing.assert_array_equal(upright_rgb(Image.open(io.BytesIO(data))), decoded)


@pytest.mark.parametrize("bits", [3, 5, 6, 7, 9, 10, 11, 13, 14, 15])
def test_depths_that_pillow_does_not_know_are_named(bits, make_tiff):
    reason = refusal(make_tiff(samples_of(bits), bits, BLACK_IS_ZERO))
    assert reason.startswith(
        f"it is a TIFF of a variant that is not read (BitsPerSample ({bits},), PhotometricInterpretation 1"
    )
    assert "convert it to JPEG or PNG" in reason


@pytest.mark.parametrize("bits", [8, 16])
def test_near_infrared_is_no_opacity(bits, make_tiff):
    samples = samples_of(bits, 4)
    samples[..., 3] //= 4
    decoded = decode_image(make_tiff(samples, bits, RGB, {338: 0}))
    assert np.abs(decoded - samples[..., :3] * 255 / ((1 << bits) - 1)).max() < 1


@pytest.mark.parametrize(("bits", "bands"), [(8, 5), (8, 6)])
def test_more_bands_are_left_out(bits, bands, make_tiff):
    samples = samples_of(bits, bands)
    decoded = decode_image(make_tiff(samples, bits, RGB, {338: [0] * (bands - 3)}))
    np.testing.assert_array_equal(decoded, samples[..., :3])


@pytest.mark.parametrize("bits", [8, 16])
def test_a_fourth_sample_of_no_stated_meaning_is_opacity(bits, make_tiff):
    # So writes OpenCV, and so read libtiff, Pillow and OpenCV.
    samples = np.array([[[200, 100, 50, 128], [0, 0, 0, 0]]]) * (257 if bits == 16 else 1)
    decoded = decode_image(make_tiff(samples, bits, RGB))
    assert np.abs(decoded.astype(int) - [[[227, 177, 152], [255] * 3]]).max() <= 1


def test_more_samples_of_no_stated_meaning_are_refused(make_tiff):
    assert "BitsPerSample (8, 8, 8, 8, 8), PhotometricInterpretation 2" in refusal(make_tiff(samples_of(8, 5), 8, RGB))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["premultiplied", "apart"])
def test_opacity(bits, kind, make_tiff):
    unit = 257 if bits == 16 else 1
    colour = 100 if kind == "premultiplied" else 200
    samples = np.array([[[colour, colour // 2, 0, 128], [0, 0, 0, 0], [50, 60, 70, 255]]]) * unit
    decoded = decode_image(make_tiff(samples, bits, RGB, {338: 1 if kind == "premultiplied" else 2}))
    expected = [[[227, 177, 127], [255] * 3, [50, 60, 70]]]
    assert np.abs(decoded.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_grey_with_a_second_sample(extra, make_tiff):
    samples = np.array([[[100, 128], [0, 0], [50, 255]]])
    expected = {0: [100, 0, 50], 1: [227, 255, 50], 2: [177, 255, 50]}[extra]
    data = make_tiff(samples, 8, BLACK_IS_ZERO, {338: extra})
    if int(PIL.__version__.partition(".")[0]) < 13 and extra != 2:
        assert f"ExtraSamples ({extra},)" in refusal(data)
    else:
        assert np.abs(decode_image(data)[0, :, 0].astype(int) - expected).max() <= 1


def test_separate_planes_of_8_bits(make_tiff):
    samples = samples_of(8, 3, shape=(40, 30))
    data = make_tiff(samples, 8, RGB, planes=True)
    for _ in range(5):
        np.testing.assert_array_equal(decode_image(data), samples)
    samples = np.array([[[200, 100, 50, 128], [0, 0, 0, 0]]])
    assert decode_image(make_tiff(samples, 8, RGB, {338: 2}, planes=True)).tolist() == [[[227, 177, 152], [255] * 3]]


@pytest.mark.parametrize(
    ("bits", "channels", "photometric", "extra"),
    [(16, 3, RGB, None), (8, 4, RGB, 0), (8, 2, BLACK_IS_ZERO, 2), (8, 3, YCBCR, None)],
)
def test_other_separate_planes_are_refused(bits, channels, photometric, extra, make_tiff):
    data = make_tiff(samples_of(bits, channels), bits, photometric, {338: extra}, planes=True)
    assert f"separate planes of {bits} bits, PhotometricInterpretation {photometric}" in refusal(data)
    with pytest.raises(ImageReadError, match="separate planes"):
        upright_rgb(Image.open(io.BytesIO(make_tiff(samples_of(16, 3), 16, RGB, planes=True))))


@pytest.mark.parametrize(("bits", "sample_format"), [(8, 2), (16, 2), (32, 1), (32, 3), (64, 3)])
def test_samples_without_a_fixed_range_are_refused(bits, sample_format, make_tiff):
    data = make_tiff(np.ones((4, 5, 1), int), bits, BLACK_IS_ZERO, {339: sample_format})
    assert f"samples of {bits} bits that are signed, floating-point or wide, whose range is not fixed" in refusal(data)


def test_photometric_interpretation_must_be_there(make_tiff):
    assert "PhotometricInterpretation is missing" in refusal(make_tiff(samples_of(8), 8, None))


def test_uncompressed_ycbcr_is_refused(make_tiff):
    assert "(uncompressed YCbCr)" in refusal(make_tiff(samples_of(8, 3), 8, YCBCR, {530: [1, 1]}))


@pytest.mark.parametrize(
    "tags", [{50706: 0x401}, {262: 32803}, {262: 34892}, {254: 1}], ids=["DNG", "sensor", "linear", "preview"]
)
def test_camera_raw_is_named(tags, make_tiff):
    reason = refusal(make_tiff(samples_of(8), 8, BLACK_IS_ZERO, tags))
    assert reason.startswith("its first image is the preview or the sensor data of a camera raw file")
    assert "rawpy" in reason


def test_unknown_compression_is_named(make_tiff):
    assert "Compression 34712" in refusal(make_tiff(samples_of(8), 8, BLACK_IS_ZERO, {259: 34712}))


def test_big_tiff():
    samples = np.arange(128, dtype=np.uint8).reshape(8, 16)
    tags = {256: 16, 257: 8, 258: 8, 259: 1, 262: 1, 273: 16, 277: 1, 278: 8, 279: 128}
    rows = b"".join(struct.pack("<HHQQ", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II+\0\x08\0\0\0" + struct.pack("<Q", 144) + samples.tobytes() + struct.pack("<Q", len(tags)) + rows
    np.testing.assert_array_equal(decode_image(data + bytes(8))[..., 0], samples)


ANY = ("1", "L", "I;16", "RGB", "RGBA", "CMYK", "P")
COMPRESSIONS = {
    "tiff_lzw": ANY,
    "tiff_adobe_deflate": ANY,
    "packbits": ANY,
    "zstd": ANY,
    "lzma": ANY,
    "jpeg": ("L", "RGB", "CMYK"),
    "group4": ("1",),
}


@pytest.mark.parametrize(
    ("compression", "mode"), [(compression, mode) for compression, modes in COMPRESSIONS.items() for mode in modes]
)
def test_compressed(mode, compression, photo, encode, pillow_pixels):
    image = Image.fromarray(photo())
    image = Image.fromarray(photo()[..., 0].astype(np.uint16) << 8) if mode == "I;16" else image.convert(mode)
    data = encode(image, "TIFF", compression=compression)
    expected = np.asarray(image) / 257 if mode == "I;16" else pillow_pixels(data)[..., 0]
    assert np.abs(decode_image(data)[..., 0] - expected).max() <= 0.5


def test_damaged(photo, encode):
    data = bytearray(encode(photo(32, 48), "TIFF", compression="tiff_lzw"))
    data[60:80] = b"\xff" * 20
    assert "the TIFF data is cut short or damaged" in refusal(bytes(data))
