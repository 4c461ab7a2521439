import re
import warnings

import numpy as np
import pytest
from PIL import Image

from skcnn.exceptions import ImageReadError
from skcnn.images import decode_image
from skcnn.images._formats import FORMATS, explain_failure, open_image, quiet_pillow

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


def test_every_format_is_tried():
    assert [name for name, *_ in FORMATS] == [*PILLOW_NAMES, "HEIC"]


@pytest.mark.parametrize("name", PILLOW_NAMES)
@pytest.mark.parametrize(("height", "width"), [(31, 77), (300, 5)])
def test_reads_the_size_of_what_pillow_wrote(name, height, width, photo, encode):
    found, image = open_image(encode(photo(height, width), PILLOW_NAMES[name]))
    assert (found, image.size) == (name, (width, height))


def test_a_jpeg_of_several_pictures_is_its_first(photo, encode):
    second = Image.fromarray(photo(20, 30, seed=1))
    data = encode(photo(31, 77), "MPO", save_all=True, append_images=[second])
    np.testing.assert_array_equal(decode_image(data), decode_image(encode(photo(31, 77), "JPEG")))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty (0 bytes)"),
        (b"nothing of the kind", "not an image of a known format (JPEG, PNG,"),
        (bytes(500), "not an image of a known format"),
        (b"\xff\x0a" + bytes(50), "it is a JPEG XL image, which is not read; convert it to JPEG or PNG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "it is a JPEG XL image"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(50), "it is a camera raw file, which is not read; export it as JPEG, or"),
        (b"FUJIFILMCCD-RAW 0201", "it is a camera raw file"),
        (b"IIRO\x08\0\0\0", "it is a camera raw file"),
        (b"IIU\0\x18\0\0\0", "it is a camera raw file"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "it is a camera raw file"),
        (b"8BPS\0\1", "it is a Photoshop document"),
        (b"%PDF-1.7", "it is a PDF or PostScript document"),
        (bytes(128) + b"DICM", "it is a DICOM image"),
        (b"\0\0\0\x18ftypmp42", "it is a video; extract the frames"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "it is a pointer of Git LFS, not the image itself"),
        (b"../cats/1 caf\xc3\xa9.jpg\n", "it is the name of a file, not an image; pass paths as str"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "it is what macOS keeps beside a file"),
        (b"PK\3\4\x14\0", "it is an archive; unpack it"),
        (b"<!doctype html><title>404 Not Found</title>", "it is a page of HTML, SVG or XML; was it downloaded"),
        (b"\xef\xbb\xbf\n <svg xmlns=", "it is a page of HTML, SVG or XML"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else re.sub(r"\W+", "-", value)[:30],
)
def test_what_is_no_image_is_named(data, reason):
    with pytest.raises(ImageReadError) as caught:
        decode_image(data)
    assert str(caught.value).startswith(reason)


def test_heic_is_read_where_its_package_is(photo, tmp_path, assert_close):
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.heic"
    pillow_heif.from_pillow(Image.fromarray(photo(64, 96))).save(path, quality=95)
    decoded = decode_image(path.read_bytes())
    assert np.abs(decoded.astype(int) - photo(64, 96)).mean() < 6
    assert "HEIF" not in Image.registered_extensions().values()  # nothing is registered for the whole process


def test_heic_says_what_to_install(monkeypatch):
    monkeypatch.setattr("skcnn.images._formats.is_installed", lambda name: False)
    with pytest.raises(
        ImageReadError, match="it is a HEIC image, as phones write them; `pip install pillow-heif`, and"
    ):
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


@pytest.mark.parametrize(("brand", "kind"), [(b"mif1", b"avif"), (b"msf1", b"avis")])
def test_avif_may_begin_like_heic(brand, kind):
    with pytest.raises(ImageReadError, match="the AVIF data is cut short or damaged"):
        decode_image(b"\0\0\0\x1cftyp" + brand + b"\0\0\0\0" + brand + kind + b"miaf" + bytes(20))


@pytest.mark.parametrize(
    "reason",
    ["unknown pixel mode", "Unsupported BMP bitfields layout", "cannot handle 5-layer images", "Not implemented"],
)
def test_a_rare_variant_is_not_called_damaged(reason):
    assert str(explain_failure("BMP", OSError(reason))).startswith(
        f"it is a BMP of a variant that is not read ({reason}"
    )


def test_the_last_failure_decides_what_is_damaged():
    error = explain_failure("JPEG", ValueError("early"), KeyError())
    assert str(error) == "the JPEG data is cut short or damaged (KeyError)"


def test_an_earlier_failure_can_tell_that_a_variant_is_rare():
    error = explain_failure("JPEG", ValueError("Unsupported process"), OSError("broken"))
    assert str(error).startswith("it is a JPEG of a variant that is not read (Unsupported process; broken); convert it")


def test_quiet_pillow_leaves_the_filters_as_they_were():
    before = list(warnings.filters)
    with quiet_pillow():
        warnings.warn_explicit("of Pillow", UserWarning, "plugin.py", 1, module="PIL.TiffImagePlugin")
        with pytest.warns(UserWarning, match="of others"):
            warnings.warn("of others", stacklevel=1)
    assert list(warnings.filters) == before


def test_pillow_limits_of_the_whole_process_are_not_asked(monkeypatch, photo, encode):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode_image(encode(photo())).shape == photo().shape
