import importlib.metadata

import numpy as np
import PIL
import pytest

from skcnn.cache._json_memo import JsonMemo
from skcnn.images import _measured
from skcnn.images._measured import describe_decoder, digest_of_probes


@pytest.fixture(autouse=True)
def measure_anew():
    digest_of_probes.cache_clear()
    yield
    digest_of_probes.cache_clear()


def test_other_versions_that_make_the_same_pixels_are_no_others(monkeypatch):
    expected = describe_decoder()
    version = importlib.metadata.version
    monkeypatch.setattr(PIL, "__version__", "99.0.0")
    monkeypatch.setattr(np, "__version__", "99.0.0")
    monkeypatch.setattr(_measured, "opencv_version", lambda: "99.0.0")
    monkeypatch.setattr(_measured.importlib.metadata, "version", lambda name: version(name) + ".1")
    digest_of_probes.cache_clear()
    assert describe_decoder() == expected


@pytest.mark.parametrize("library", ["simplejpeg", "PIL", "cv2"])
def test_a_library_that_makes_other_pixels_counts(library, monkeypatch):
    import cv2
    import simplejpeg
    from PIL import Image

    expected = describe_decoder()
    if library == "simplejpeg":
        decode = simplejpeg.decode_jpeg
        monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *args, **kwargs: decode(*args, **kwargs) ^ 1)
    elif library == "PIL":
        convert = Image.Image.convert
        monkeypatch.setattr(Image.Image, "convert", lambda *args: convert(*args).rotate(180))
    else:
        resize = cv2.resize
        monkeypatch.setattr(cv2, "resize", lambda *args, **kwargs: resize(*args, **kwargs) ^ 1)
    digest_of_probes.cache_clear()
    assert describe_decoder() != expected


def test_what_is_remembered_is_not_measured_again(tmp_path, monkeypatch):
    memo = JsonMemo(tmp_path)
    expected = describe_decoder(memo)
    monkeypatch.setattr(_measured, "digest_of_probes", lambda: pytest.fail("measured again"))
    assert describe_decoder(memo) == expected
    assert describe_decoder(JsonMemo(tmp_path)) == expected
    monkeypatch.setattr(PIL, "__version__", "99.0.0")
    with pytest.raises(pytest.fail.Exception):
        describe_decoder(JsonMemo(tmp_path))


def test_an_installation_that_does_not_read_a_format_can_be_described(monkeypatch):
    from skcnn.exceptions import ImageReadError

    decode = _measured.decode_image
    expected = describe_decoder()

    def without_avif(data, **kwargs):
        if b"ftypavif" in data[:16]:
            raise ImageReadError("AVIF is not read")
        return decode(data, **kwargs)

    monkeypatch.setattr(_measured, "decode_image", without_avif)
    digest_of_probes.cache_clear()
    assert describe_decoder() != expected
