"""Tables of paths, addresses, pixels and encoded images; every row that is wrong is named."""

import base64
import csv
import io
import json
import os
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from skcnn.datasets import load_image_csv, load_image_json
from skcnn.exceptions import ImageReadError
from skcnn.images import ImageSequence, as_image_sequence

fsspec = pytest.importorskip("fsspec")


def png(value=0, size=4):
    return cv2.imencode(".png", np.full((size, size, 3), value, np.uint8))[1].tobytes()


def data_uri(data):
    return "data:image/png;base64," + base64.b64encode(data).decode()


@pytest.fixture
def table(tmp_path):
    """Write a CSV file of the columns image and label (or as the header says), and load it."""

    def load(*rows, header="image,label", image_column="image", label_column="label", encoding="utf-8", **options):
        file = tmp_path / "labels.csv"
        text = "\n".join([*([header] if header else []), *rows, ""])
        file.write_bytes(text.encode(encoding))
        return load_image_csv(file, image_column=image_column, label_column=label_column, **options)

    return load


@pytest.fixture
def records(tmp_path):
    """Write text or a JSON value, and load it."""

    def load(content, image_key="image", label_key="label", **options):
        file = tmp_path / "labels.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return load_image_json(file, image_key=image_key, label_key=label_key, **options)

    return load


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/", recursive=True)


# Paths and addresses


def test_paths_are_relative_to_the_file(tmp_path, table):
    absolute = os.path.abspath("elsewhere/3.jpg")
    data = table("cats/1.jpg,cat", "dogs/2.jpg,dog", f"{absolute},cat")
    assert data.paths.dtype == object
    assert data.paths.tolist() == [str(tmp_path / "cats/1.jpg"), str(tmp_path / "dogs/2.jpg"), absolute]
    assert data.labels.tolist() == ["cat", "dog", "cat"]
    assert data.target_names.tolist() == ["cat", "dog"]
    assert data.rejected == []


def test_paths_are_relative_to_root_when_it_is_given(tmp_path, table):
    assert table("1.jpg,a", root=Path("images")).paths.tolist() == [os.path.join("images", "1.jpg")]
    assert table("1.jpg,a", root="s3://bucket/images").paths.tolist() == ["s3://bucket/images/1.jpg"]


def test_a_file_in_the_working_directory(tmp_path, table, monkeypatch):
    table("cats/1.jpg,cat")
    monkeypatch.chdir(tmp_path)
    data = load_image_csv("labels.csv", image_column="image", label_column="label")
    assert data.paths.tolist() == ["cats/1.jpg"]


def test_addresses_are_left_alone(table, records):
    urls = ["https://example.org/1.jpg", "s3://bucket/2.jpg"]
    assert table(*(f"{url},a" for url in urls)).paths.tolist() == urls
    assert records([{"image": url, "label": "a"} for url in urls], root="ignored").paths.tolist() == urls


def test_the_file_may_be_an_address(memory):
    memory.pipe("/pets/labels.csv", b"image,label\ncat/1.png,cat\n")
    memory.pipe("/pets/labels.json", b'[{"image": "cat/1.png", "label": "cat"}]')
    memory.pipe("/top.csv", b"image,label\npets/cat/1.png,cat\n")
    memory.pipe("/pets/cat/1.png", png(7))
    names = {"image_column": "image", "label_column": "label"}
    tables = [
        load_image_csv("memory://pets/labels.csv", verify=True, **names),
        load_image_csv("memory://top.csv", verify=True, **names),
        load_image_json("memory://pets/labels.json", image_key="image", label_key="label", verify=True),
    ]
    for data in tables:
        assert data.paths.tolist() == ["memory://pets/cat/1.png"]
        assert as_image_sequence(data.paths)[0].max() == 7


def test_a_query_is_no_part_of_the_folder(monkeypatch):
    monkeypatch.setattr("skcnn.datasets._open.read_url", lambda url: b"image,label\n1.png,cat\n")
    url = "https://example.org/pets/labels.csv?from=/a/b"
    assert load_image_csv(url, image_column="image", label_column="label").paths[0] == "https://example.org/pets/1.png"


def test_an_address_that_cannot_be_fetched(memory, monkeypatch):
    with pytest.raises(OSError, match=r"'memory://gone.csv': it cannot be fetched: FileNotFoundError") as caught:
        load_image_csv("memory://gone.csv", image_column="image", label_column="label")
    assert isinstance(caught.value.__cause__, ImageReadError)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"reading 'memory://gone.csv' needs fsspec.*pip install 'fsspec'"):
        load_image_csv("memory://gone.csv", image_column="image", label_column="label")


# Embedded images


@pytest.mark.parametrize(
    "cells", [["0 50 100 150 200 250", "1 2 3 4 5 6"], ['"0,50,100, 150,200,250"', '"[1, 2, 3, 4, 5, 6]"']]
)
def test_pixels_in_cells(table, cells):
    data = table(*(f"{cell},{label}" for cell, label in zip(cells, "ab", strict=True)), pixel_shape=(2, 3))
    assert isinstance(data.paths, ImageSequence)
    assert len(data.paths) == 2
    assert data.paths[0].dtype == np.uint8
    assert data.paths[0][..., 0].tolist() == [[0, 50, 100], [150, 200, 250]]
    assert data.labels.tolist() == ["a", "b"]


def test_colour_pixels_in_cells(table):
    data = table("1 2 3 4 5 6,a", pixel_shape=(1, 2, 3))
    assert data.paths[0].tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_embedded_images_slice_with_their_labels(table):
    data = table(*(f"{i} {i} {i} {i},{i}" for i in range(20)), pixel_shape=(2, 2))
    images, rest, labels, _ = train_test_split(data.paths, data.labels, random_state=0)
    assert [str(image.max()) for image in images] == labels.tolist()
    assert len(rest) == 5


def test_encoded_images_in_cells(table, records):
    uris = [data_uri(png(3)), data_uri(png(9)).replace("data:image", "DATA:image")]
    for data in (
        table(*(f'"{uri}",a' for uri in uris)),
        records([{"image": uri, "label": "a"} for uri in uris]),
    ):
        assert isinstance(data.paths, ImageSequence)
        assert [image.max() for image in data.paths] == [3, 9]


def test_a_cell_may_be_longer_than_the_csv_module_likes(table):
    limit = csv.field_size_limit()
    rng = np.random.default_rng(0)
    noise = cv2.imencode(".png", rng.integers(0, 256, (300, 300, 3), np.uint8))[1].tobytes()
    assert len(noise) > limit
    assert table(f'"{data_uri(noise)}",a').paths[0].shape == (300, 300, 3)
    assert csv.field_size_limit() == limit


def test_nested_pixels_in_json(records):
    data = records([{"image": [[0, 255, 3], [4, 5, 6]], "label": "a"}, {"image": [[[1, 2, 3]]], "label": "b"}])
    assert data.paths[0][..., 0].tolist() == [[0, 255, 3], [4, 5, 6]]
    assert data.paths[1].tolist() == [[[1, 2, 3]]]
    assert data.paths[0].dtype == np.uint8


@pytest.mark.parametrize("image", [[1, 2, 3, 4], "1 2 3 4", [[1, 2], [3, 4]]])
def test_flat_pixels_in_json(records, image):
    data = records([{"image": image, "label": "a"}], pixel_shape=(2, 2))
    assert data.paths[0][..., 0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("pixel_shape", [48, (48,), (2, 2, 4), (2, 2, 3, 1), (0, 2), (2.5, 2), "ab", ("a", "b")])
def test_pixel_shape_is_checked(table, pixel_shape):
    with pytest.raises(ValueError, match=r"'pixel_shape' parameter must be None, \(height, width\) or .*Got"):
        table("1 2 3 4,a", pixel_shape=pixel_shape)


# Labels


def test_a_table_without_labels(table, records):
    for data in (
        table("1.jpg", header="image", label_column=None),
        records([{"image": "1.jpg"}], label_key=None),
    ):
        assert len(data.paths) == 1
        assert data.labels is None
        assert data.target_names is None


def test_labels_in_json_may_be_numbers(records):
    labels = ["cat", 3, 1.5, True, " dog "]
    data = records([{"image": "1.jpg", "label": label} for label in labels])
    assert data.labels.tolist() == ["cat", "3", "1.5", "True", "dog"]


# What CSV files look like


def test_quotes_blanks_and_unicode(tmp_path, table):
    data = table('"a, b.jpg", x', "", " 猫.jpg , 猫 ", ",", header=" image , label ")
    assert data.paths.tolist() == [str(tmp_path / "a, b.jpg"), str(tmp_path / "猫.jpg")]
    assert data.labels.tolist() == ["x", "猫"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_does_no_harm(table, encoding):
    assert table("1.jpg,é", encoding="utf-8-sig").labels.tolist() == ["é"]


def test_delimiter_and_encoding_can_be_chosen(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_bytes("image;label\r\n1.jpg;café\r\n".encode("cp1252"))
    names = {"image_column": "image", "label_column": "label"}
    data = load_image_csv(file, delimiter=";", encoding="cp1252", **names)
    assert data.labels.tolist() == ["café"]
    message = r"labels.csv' is not in utf-8-sig \(.*0xe9.*\); say which it is, for instance encoding='cp1252'"
    with pytest.raises(ValueError, match=message) as caught:
        load_image_csv(file, delimiter=";", **names)
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)
    with pytest.raises(ValueError, match=r"'delimiter' parameter must be one character. Got ';;' instead"):
        load_image_csv(file, delimiter=";;", **names)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_the_mark_of_utf_16_and_32_is_heeded(table, records, tmp_path, encoding):
    assert table("1.jpg\té", header="image\tlabel", delimiter="\t", encoding=encoding).labels.tolist() == ["é"]
    (tmp_path / "labels.json").write_text('[{"image": "1.jpg", "label": "é"}]', encoding=encoding)
    assert load_image_json(tmp_path / "labels.json", image_key="image", label_key="label").labels.tolist() == ["é"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_named(table, encoding):
    with pytest.raises(ValueError, match=f"is not in utf-8-sig: it holds zero bytes; try encoding='{encoding}'"):
        table("1.jpg,x", encoding=encoding)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (b"PK\x03\x04...", "is an Excel workbook or an archive; save the table as a text file, CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0...", "is an Excel workbook"),
        (b"\x1f\x8b\x08", "is compressed; unpack it first"),
        (b"PAR1....", "is a table in a binary format; read it with pandas"),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path, data, advice):
    (tmp_path / "labels.csv").write_bytes(data)
    with pytest.raises(ValueError, match=advice):
        load_image_csv(tmp_path / "labels.csv", image_column="image", label_column="label")


def test_joined_files(table, records):
    assert table("1.jpg,x", "\ufeff2.jpg,\ufeffx").labels.tolist() == ["x", "x"]
    with pytest.raises(ValueError, match=r"1 of 3 rows(.|\n)*row 3: it is the header again; were several tables join"):
        table("1.jpg,x", "\ufeffimage,label", "2.jpg,x")
    line = '{"image": "1.jpg", "label": "a"}'
    assert records(f"{line}\n\ufeff{line}\n").labels.tolist() == ["a", "a"]


def test_excel_names_its_delimiter(table):
    assert table("1.jpg;x", header="sep=;\nimage;label", delimiter=";").labels.tolist() == ["x"]


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ('1.jpg, "cat, tabby"', "cat, tabby"),
        ('"1.jpg" , "cat"', "cat"),
        ('"1.jpg"\t,"cat" ', "cat"),
        ('1.jpg,"a ""big"" cat"', 'a "big" cat'),
        ('1.jpg,5" pipe', '5" pipe'),
        ('1.jpg,"two\nlines"', "two lines"),
        ('1.jpg,"a ""big"" \ncat"', 'a "big" cat'),
    ],
)
def test_blanks_around_quotes(tmp_path, table, row, label):
    data = table(row, "2.jpg,dog")
    assert data.labels.tolist() == [label, "dog"]
    assert data.paths[0] == str(tmp_path / "1.jpg")


def test_a_tab_before_a_quote_delimits(table):
    assert table('1.jpg\t"x"\t', header="image\tlabel\tnote", delimiter="\t").labels.tolist() == ["x"]


def test_blanks_may_delimit(table):
    data = table('1.jpg "black cat" x', "2.jpg  x", header="image label note", delimiter=" ", label_column="note")
    assert data.labels.tolist() == ["x", "x"]


def test_a_forgotten_quote_is_named_even_when_another_follows(table):
    with pytest.raises(ValueError, match=r"row 2 of '.*labels.csv' is no CSV: .*are its quotes in pairs"):
        table('1.jpg,cat,"nice', '2.jpg,dog,"good"', header="image,label,note")


@pytest.mark.filterwarnings("ignore:.*copies of others:UserWarning")
def test_paths_are_found_in_another_spelling(tmp_path, table, records, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "Cats").mkdir()
    (tmp_path / "Cats/1.JPG").write_bytes(png())
    paths = ["Cats/1.JPG", "cats/1.jpg", "Cats\\1.JPG", "~/Cats/1.JPG"]
    data = table(*(f"{path},a" for path in paths), verify=True)
    assert [os.path.samefile(path, tmp_path / "Cats/1.JPG") for path in data.paths] == [True] * 4
    with pytest.raises(ImageReadError, match=r"2\.jpg: there is no such file: .*; the closest there: '1.JPG'"):
        records([{"image": "Cats/2.jpg", "label": "a"}], verify=True)
    with pytest.raises(FileNotFoundError, match=r"label.csv': there is no such file: .*; the closest there: 'labels.c"):
        load_image_csv(tmp_path / "label.csv", image_column="image", label_column="label")


def test_other_columns_do_not_matter(table):
    data = table("7,x,1.jpg,train", "8,y,2.jpg", "9,z,3.jpg,test,,", header="id,label,image,usage")
    assert data.labels.tolist() == ["x", "y", "z"]


def test_unknown_columns_name_the_closest(table):
    header = "image,emotion,usage,id,width,height,label_name,label_id"
    with pytest.raises(
        ValueError, match=r"labels.csv' has no column 'label'; the closest are 'label_id', 'label_name'"
    ):
        table("1.jpg,x", header=header)
    with pytest.raises(ValueError, match=r"has no column 'images'; the closest are 'image', "):
        table("1.jpg,x", header=header, image_column="images")
    with pytest.raises(ValueError, match=r"no column 'image', only 'image;label'; if ',' is not what .* another delim"):
        table("1.jpg;x", header="image;label")
    with pytest.raises(ValueError, match=r"has 2 columns named 'label'; name them apart"):
        table("1.jpg,x,y", header="image,label,label")


def test_every_row_without_image_or_label_is_named(table):
    with pytest.raises(ValueError, match=r"4 of 6 rows of '.*labels.csv' cannot be used; correct them") as caught:
        table("1.jpg,a", ",a", "", "3.jpg,", "4.jpg", "5.jpg,b", " ,b")
    lines = str(caught.value).splitlines()[1:]
    assert lines == [
        "  row 3: the image is missing",
        "  row 5: the label is missing",
        "  row 6: the label is missing",
        "  row 8: the image is missing",
    ]


def test_every_row_of_wrong_pixels_is_named(table):
    cells = ["1 2 3", "1 2 3 256", "1 2 3 4.5", "cat.jpg", "1 2 3 -4", "1 2 3 ٤", f"1 2 3 {10**30}"]
    with pytest.raises(ValueError, match=r"7 of 8 rows") as caught:
        table("1 2 3 4,a", *(f"{cell},a" for cell in cells), pixel_shape=(2, 2))
    assert str(caught.value).splitlines()[1:] == [
        "  row 3: the image has 3 numbers, and pixel_shape=(2, 2) takes 4",
        "  row 4: pixels are whole numbers from 0 to 255, not in [1, 256]",
        "  row 5: pixels are whole numbers from 0 to 255, not '4.5'",
        "  row 6: pixels are whole numbers from 0 to 255, not 'cat.jpg'",
        "  row 7: pixels are whole numbers from 0 to 255, not '-4'",
        "  row 8: pixels are whole numbers from 0 to 255, not '٤'",
        f"  row 9: pixels are whole numbers from 0 to 255, not in [1, {2**63 - 1}]",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1 ", r"the image looks like pixels \("),
        ("1", "a text of .* characters is no path"),
        ("x", "a text of .* char"),
    ],
)
def test_a_cell_of_megabytes(text, problem, table):
    cell = text * (8_000_000 // len(text))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"row 2: {problem}"):
            table(f"{cell},a")
        assert tracemalloc.get_traced_memory()[1] < 12 * len(cell)  # the csv module keeps four bytes a character
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cell", ["70 80 82 72 58", '"70, 80, 82, 72"', '"[70, 80, 82, 72]"'])
def test_pixels_without_their_shape(table, cell):
    with pytest.raises(
        ValueError, match=r"row 2: the image looks like pixels \(.*say their pixel_shape=\(height, width\)"
    ):
        table(f"{cell},a")


@pytest.mark.parametrize("name", ["2024 01 02.jpg", "2024 01 02 182233.jpg", "1, 2, 3, 4.jpg", "01 02 03 04"])
def test_numbers_in_a_path_are_no_pixels(tmp_path, table, records, name):
    (tmp_path / name).write_bytes(png(5))
    for data in (table(f'"{name}",a', verify=True), records([{"image": name, "label": "a"}], verify=True)):
        assert data.paths.tolist() == [str(tmp_path / name)]


def test_more_cells_than_columns(table):
    with pytest.raises(
        ValueError, match=r"row 2: it has 4 cells, the header 2; quote cells that contain the delimiter"
    ):
        table("a, b, c.jpg,cat")


def test_a_quote_that_never_ends(table):
    with pytest.raises(ValueError, match=r"row 3 of '.*labels.csv' is no CSV: .*are its quotes in pairs") as caught:
        table("1.jpg,cat", '"2.jpg,cat', "3.jpg,cat")
    assert isinstance(caught.value.__cause__, csv.Error)


def test_at_most_100_rows_are_named(table):
    with pytest.raises(ValueError, match=r"150 of 150 rows(.|\n)*\n  row 101: .*\n  \.\.\. and 50 more$"):
        table(*[",a"] * 150, header="image,label")


def test_one_table_holds_one_kind(table):
    message = r"1 of 3 rows(.|\n)*row 3: it holds encoded images, most rows hold paths; one table holds one kind"
    with pytest.raises(ValueError, match=message):
        table("1.jpg,a", f'"{data_uri(png())}",a', "2.jpg,a")
    with pytest.raises(ValueError, match=r"row 4: it holds encoded images, most rows hold pixels"):
        table("1 2 3 4,a", "1 2 3 4,b", f'"{data_uri(png())}",a', pixel_shape=(2, 2))


@pytest.mark.parametrize("text", ["", "\n\n", "image,label", "image,label\n\n,\n"])
def test_an_empty_table(tmp_path, text):
    file = tmp_path / "labels.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"labels.csv' has no rows; at least one image is required"):
        load_image_csv(file, image_column="image", label_column="label")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("data:image/png,abc", r"a data URI reads data:<type>;base64,<data>, not 'data:image/png,abc'"),
        ("data:image/png;base64,a*b=", r"the data URI is no valid base64"),
        ("data:image/png;base64,abc", r"the data URI is no valid base64"),
        ("data:image/png;base64,", r"the data URI holds no data"),
    ],
)
def test_damaged_data_uris(table, cell, reason):
    with pytest.raises(ValueError, match=f"row 2: {reason}"):
        table(f'"{cell}",a')


@pytest.mark.parametrize(
    ("load", "options"),
    [
        (load_image_csv, {"image_column": "image", "label_column": "label"}),
        (load_image_json, {"image_key": "image", "label_key": "label"}),
    ],
)
def test_files_that_are_none(tmp_path, load, options):
    with pytest.raises(FileNotFoundError, match=r"'.*gone': there is no such file: no 'gone' in '"):
        load(tmp_path / "gone", **options)
    with pytest.raises(IsADirectoryError, match=r"is a folder; skcnn.datasets.load_image_folder reads"):
        load(tmp_path, **options)
    with pytest.raises(TypeError, match=r"file is the path or address of a file, str or Path. Got StringIO"):
        load(io.StringIO(), **options)


# What JSON files look like


def test_a_list_of_records(tmp_path, records):
    data = records([{"image": "1.jpg", "label": "猫", "id": 4}, {"label": "dog", "image": "2.jpg"}])
    assert data.paths.tolist() == [str(tmp_path / "1.jpg"), str(tmp_path / "2.jpg")]
    assert data.labels.tolist() == ["猫", "dog"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("count", [1, 3])
def test_json_lines(records, end, count):
    lines = [json.dumps({"image": f"{i}.jpg", "label": "a\u2028b"}, ensure_ascii=False) for i in range(count)]
    assert records(end.join([*lines, ""])).labels.tolist() == ["a b"] * count


def test_a_json_file_with_a_byte_order_mark(records):
    assert len(records('\ufeff[{"image": "1.jpg", "label": "a"}]').paths) == 1


def test_every_record_that_is_wrong_is_named(records):
    good = {"image": "1.jpg", "label": "a"}
    bad = [
        ({"image": "1.jpg"}, "the label is missing"),
        ({}, "the image is missing"),
        ("1.jpg", "a record is an object with keys, not str '1.jpg'"),
        ({"image": None, "label": "a"}, "the image is missing"),
        ({"image": 7, "label": "a"}, "an image is a path, an address, a data URI or pixels, not int 7"),
        ({"image": "1.jpg", "label": None}, "the label is missing"),
        ({"image": "1.jpg", "label": ""}, "the label is missing"),
        ({"image": "1.jpg", "label": {}}, "a label is text or a finite number, not dict {}"),
        ({"image": "1.jpg", "label": float("nan")}, "a label is text or a finite number, not float nan"),
        (
            {"image": [[1, 2], [3]], "label": "a"},
            "the lists of pixels are of unequal length, or hold more than numbers",
        ),
        ({"image": [[1, 256]], "label": "a"}, "pixels are whole numbers from 0 to 255, not in [1, 256]"),
        ({"image": [[0.5, 1]], "label": "a"}, "pixels are whole numbers from 0 to 255, not in [0.5, 1.0]"),
        ({"image": [[-1, 1]], "label": "a"}, "pixels are whole numbers from 0 to 255, not in [-1, 1]"),
        ({"image": [], "label": "a"}, "pixels are whole numbers from 0 to 255, not in []"),
        (
            {"image": [1, 2], "label": "a"},
            "the lists of pixels have the shape (2,), not (height, width) or (height, width, 1 | 3 | 4)",
        ),
        (
            {"image": [[[1, 2]]], "label": "a"},
            "the lists of pixels have the shape (1, 1, 2), not (height, width) or (height, width, 1 | 3 | 4)",
        ),
    ]
    with pytest.raises(ValueError, match=rf"{len(bad)} of {len(bad) + 1} rows") as caught:
        records([good, *(record for record, _ in bad)])
    assert str(caught.value).splitlines()[1:] == [f"  record [{i}]: {text}" for i, (_, text) in enumerate(bad, 1)]


def test_nested_pixels_of_another_shape(records):
    with pytest.raises(ValueError, match=r"record \[0\]: the lists of pixels have the shape \(1, 2\), not \(2, 2\)"):
        records([{"image": [[1, 2]], "label": "a"}], pixel_shape=(2, 2))


def test_a_key_that_no_record_has(records):
    with pytest.raises(
        ValueError, match=r"no record of '.*labels.json' has the key 'label'; the closest are 'image', 'lab'"
    ):
        records([{"image": "1.jpg"}, {"image": "2.jpg", "lab": "a"}])
    with pytest.raises(ValueError, match=r"has the key 'img'; the closest are 'image', 'label'"):
        records([{"image": "1.jpg", "label": "a"}], image_key="img")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"images": [], "annotations": []}, r"an object with the keys 'images', 'annotations', not a list of records"),
        ({"image": {"0": "1.jpg"}, "label": {"0": "a"}}, r"keys 'image', 'label', not a list.*orient='records'"),
        (dict.fromkeys(map(str, range(30))), r"'8', '9', not a list of records \[\{'image': ...\}, ...\]"),
        (7, r"holds int, not a list"),
    ],
)
def test_json_that_is_no_list_of_records(records, content, found):
    with pytest.raises(ValueError, match=found):
        records(content)


def test_a_list_of_other_things(records):
    with pytest.raises(ValueError, match=r"2 of 2 rows(.|\n)*record \[1\]: a record is an object with keys, not str"):
        records(["1.jpg", "2.jpg"])


@pytest.mark.parametrize("text", ['[{"image": "1.jpg", "label": "a"}', "image,label\n1.jpg,a", "[" * 100_000])
def test_text_that_is_no_json(records, text):
    with pytest.raises(ValueError, match=r"labels.json' is neither JSON nor JSON Lines: ") as caught:
        records(text)
    assert caught.value.__cause__ is not None


def test_damaged_lines_are_named(records):
    good = '{"image": "1.jpg", "label": "a"}'
    with pytest.raises(ValueError, match=r"2 of 4 rows(.|\n)*\n  line 3: it is not JSON: .*\n  line 5: it is not JSON"):
        records("\n".join([good, "", good[:-3], good, "oops"]))


@pytest.mark.parametrize("text", ["", " \n", "[]"])
def test_an_empty_json_file(records, text):
    with pytest.raises(ValueError, match=r"labels.json' has no rows"):
        records(text)


# Verification


def test_verify_of_paths(tmp_path, table, records):
    (tmp_path / "1.png").write_bytes(png())
    (tmp_path / "2.png").write_bytes(b"text")
    loads = [
        lambda: table("2.png,cat", "1.png,dog", "gone.png,fox", verify=True),
        lambda: records(
            [{"image": f"{i}.png", "label": x} for i, x in ((2, "cat"), (1, "dog"), ("gone", "fox"))], verify=True
        ),
    ]
    for load in loads:
        with pytest.warns(UserWarning, match=r"2 of 3 images cannot be read(.|\n)*classes: 'cat', 'fox'"):
            data = load()
        assert data.paths.tolist() == [str(tmp_path / "1.png")]
        assert data.labels.tolist() == ["dog"]
        assert data.target_names.tolist() == ["dog"]
        assert [Path(path).name for path, _ in data.rejected] == ["2.png", "gone.png"]


def test_verify_of_embedded_images(table, records):
    uris = [data_uri(png(1)), data_uri(b"text"), data_uri(png(3))]
    with pytest.warns(UserWarning, match=r"1 of 3 images(.|\n)*  row 3: not an image of a known format") as caught:
        data = table(*(f'"{uri}",{label}' for uri, label in zip(uris, "aba", strict=True)), verify=True)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert [image.max() for image in data.paths] == [1, 3]
    assert data.labels.tolist() == ["a", "a"]
    assert data.rejected[0][0] == "row 3"
    with pytest.warns(UserWarning, match=r"  record \[1\]: not an image"):
        records([{"image": uri, "label": "a"} for uri in uris], verify=True)
    with pytest.warns(UserWarning, match=r"  line 2: not an image"):
        records("\n".join(json.dumps({"image": uri, "label": "a"}) for uri in uris), verify=True)


def test_verify_without_labels(table):
    with pytest.warns(UserWarning, match="1 of 2 images") as caught:
        data = table(
            data_uri(png(1)).join('""'), data_uri(b"text").join('""'), header="image", label_column=None, verify=True
        )
    assert "classes" not in str(caught[0].message)
    assert len(data.paths) == 1
    assert data.labels is None


def test_verify_of_pixels_and_progress(table, capsys):
    data = table("1 2 3 4,a", pixel_shape=(2, 2), verify=True, verbose=1)
    assert data.rejected == []
    assert "verifying: 1 of 1 (100 %)" in capsys.readouterr().err


def test_verify_that_leaves_nothing_raises(table):
    with pytest.raises(ImageReadError, match=r"2 of 2 images cannot be read"):
        table("gone.png,a", "memory://gone.png,b", verify=True)


# Tables from elsewhere ------------------------------------------------------------------------------------------------


@pytest.fixture
def remote_table():

    def write(*images):
        text = "image,label\n" + "".join(f"{image},a\n" for image in images)
        fsspec.filesystem("memory").pipe("/evil/labels.csv", text.encode())
        return "memory://evil/labels.csv"

    return write


@pytest.mark.parametrize(
    "image",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "local:///etc/passwd",
        "C:\\secret.png",
        "C:secret.png",
        "~/secret.png",
        "zip://a.png::file:///home/me/a.zip",
        "simplecache://x::/home/me/a.png",
    ],
)
@pytest.mark.parametrize("root", [None, "pictures"])
def test_a_table_from_an_address_may_not_name_files_of_this_machine(remote_table, image, root):
    with pytest.raises(ValueError, match="may not name files of this machine") as caught:
        load_image_csv(remote_table("1.png", image), image_column="image", label_column="label", root=root)
    assert "1.png" not in str(caught.value)


@pytest.mark.parametrize("root", ["pictures", "file:///home/me/pictures"])
def test_a_table_from_an_address_may_not_climb_out_of_the_root(remote_table, root):
    with pytest.raises(ValueError, match="may not name files of this machine"):
        load_image_csv(remote_table("cats/../../secret.png"), image_column="image", label_column="label", root=root)


def test_a_table_from_an_address_names_images_there_and_below_a_root_here(remote_table):
    table = remote_table("cat/1.png", "../dogs/2.png", "https://example.org/3.png")
    data = load_image_csv(table, image_column="image", label_column="label")
    assert data.paths.tolist() == [
        "memory://evil/cat/1.png",
        "memory://evil/../dogs/2.png",
        "https://example.org/3.png",
    ]
    data = load_image_csv(remote_table("cat/1.png"), image_column="image", label_column="label", root="pictures")
    assert data.paths.tolist() == [os.path.join("pictures", "cat/1.png")]


def test_a_table_of_this_machine_may_name_any_file(tmp_path):
    (tmp_path / "labels.csv").write_text("image,label\n/data/1.png,a\nfile:///data/2.png,b\n")
    data = load_image_csv(tmp_path / "labels.csv", image_column="image", label_column="label")
    assert data.paths.tolist() == ["/data/1.png", "file:///data/2.png"]
