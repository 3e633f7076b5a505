"""Text tables as people save them; what is not one is told with its line."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from models.errors import DataError
from trainer.data.csv import read_csv, read_parts

Read = Callable[..., pl.DataFrame]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read bytes or text as a CSV file of some name."""

    def run(content: bytes | str, name: str = "data.csv") -> pl.DataFrame:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_csv(path).frame

    return run


@pytest.fixture
def refused(read: Read) -> Callable[..., str]:
    def run(content: bytes | str, name: str = "data.csv") -> str:
        with pytest.raises(DataError) as caught:
            read(content, name)
        message = str(caught.value)
        assert name in message and "\n" not in message
        return message.partition(name)[2]

    return run


def rows(frame: pl.DataFrame) -> list[tuple[str, ...]]:
    """Return the rows with an empty text for a missing value, which is the same."""
    assert set(frame.dtypes) <= {pl.String}
    return [tuple(value or "" for value in row) for row in frame.rows()]


PLAIN = "a,b\n1,x\n2,y\n"


def test_values_stay_text(read: Read) -> None:
    frame = read("a,b\n1,x\n007,1.50\n")
    assert frame.columns == ["a", "b"]
    assert rows(frame) == [("1", "x"), ("007", "1.50")]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(separator: str, read: Read) -> None:
    text = PLAIN.replace(",", separator)
    assert rows(read(text)) == [("1", "x"), ("2", "y")]


def test_a_separator_inside_quotes_does_not_decide(read: Read) -> None:
    frame = read('"price, EUR, net";"y"\n"1,50";a\n')
    assert frame.columns == ["price, EUR, net", "y"]
    assert rows(frame) == [("1,50", "a")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str, read: Read) -> None:
    assert rows(read(PLAIN.replace("\n", end))) == [("1", "x"), ("2", "y")]


def test_the_last_line_needs_no_end(read: Read) -> None:
    assert rows(read(PLAIN.rstrip())) == [("1", "x"), ("2", "y")]


def test_a_byte_order_mark_is_no_part_of_the_name(read: Read) -> None:
    assert read(b"\xef\xbb\xbf" + PLAIN.encode()).columns == ["a", "b"]
    assert read(b"\xef\xbb\xbf" + b'"a","b"\n1,2\n').columns == ["a", "b"]


@pytest.mark.parametrize("name", ["data.csv.gz", "data.csv"])
def test_gzip_is_known_by_its_bytes(name: str, read: Read) -> None:
    assert rows(read(gzip.compress(PLAIN.encode()), name)) == [("1", "x"), ("2", "y")]


def test_a_plain_file_may_be_called_gz(read: Read) -> None:
    assert rows(read(PLAIN, "data.csv.gz")) == [("1", "x"), ("2", "y")]


def test_quoted_commas_newlines_and_quotes(read: Read) -> None:
    frame = read('a,b\n"1,5","two\nlines"\n"say ""hi""",\n')
    assert rows(frame) == [("1,5", "two\nlines"), ('say "hi"', "")]


def test_a_quote_inside_a_value_is_a_character(read: Read) -> None:
    text = 'a,b\n5" pipe,x\nsteel 7",y\n2" and 3",z\n'
    assert [row[0] for row in rows(read(text))] == ['5" pipe', 'steel 7"', '2" and 3"']


def test_unicode_survives(read: Read) -> None:
    frame = read("größe,城市\nkürzer,北京\n")
    assert frame.columns == ["größe", "城市"]
    assert rows(frame) == [("kürzer", "北京")]


def test_blank_lines_are_no_rows(read: Read) -> None:
    assert rows(read("\n\na,b\n1,x\n\n2,y\n\n\n")) == [("1", "x"), ("2", "y")]


def test_one_column(read: Read) -> None:
    assert rows(read("a\n1\n2\n")) == [("1",), ("2",)]


def test_an_empty_line_of_one_column_is_a_missing_value(read: Read) -> None:
    assert rows(read('a\n1\n\n""\n2\n')) == [("1",), ("",), ("",), ("2",)]


def test_a_file_name_is_no_pattern(read: Read) -> None:
    assert rows(read(PLAIN, "data[1].csv")) == [("1", "x"), ("2", "y")]


def test_many_rows_keep_their_order(read: Read) -> None:
    n = 70_000
    text = "a,b\n" + "".join(f"{i},{i % 7}\n" for i in range(n))
    frame = read(text)
    assert frame["a"].to_list() == [str(i) for i in range(n)]
    assert frame["b"].to_list() == [str(i % 7) for i in range(n)]


cells = st.text(
    st.one_of(
        st.sampled_from('ab1 ,;\t"\n\r'),
        st.characters(codec="utf-8", exclude_characters="\0"),
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[cells] * n))))
def test_whatever_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, ...]]
) -> None:
    width = len(written[0]) if written else 2
    header = [f"c{i}" for i in range(width)]
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([header, *written])
    path = tmp_path_factory.getbasetemp() / "round.csv"
    path.write_bytes(stream.getvalue().encode())
    frame = read_csv(path).frame
    assert frame.columns == header
    assert rows(frame) == written


def test_header_only_gives_no_rows(read: Read) -> None:
    frame = read("a,b\n")
    assert (frame.columns, len(frame)) == (["a", "b"], 0)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\r\n\r\n", b"  \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"],
    ids=repr,
)
def test_an_empty_file_is_told(content: bytes, refused: Callable[..., str]) -> None:
    assert refused(content) == ": the file is empty"
    assert refused(gzip.compress(content), "data.csv.gz") == ": the file is empty"


@pytest.mark.parametrize(
    ("line", "found"), [("3", 1), ("3,z,", 3), ("3,z,4,5", 4), (" ", 1)]
)
def test_a_ragged_line_is_told_by_its_number(
    line: str, found: int, refused: Callable[..., str]
) -> None:
    note = "; a note below the table has to go" if found == 1 else ""
    assert refused(f"{PLAIN}{line}\n4,q\n") == (
        f", line 4: expected 2 fields as in the header, found {found}{note}"
    )


def test_line_numbers_count_lines_not_rows(refused: Callable[..., str]) -> None:
    message = refused('a,b\n"two\nlines",1\n\n"x",2\n3\n')
    assert message.startswith(", line 6: expected 2 fields")
    assert refused("\n\na,b\n3\n").startswith(", line 4: expected 2 fields")


def test_an_open_quote_is_told_where_it_begins(refused: Callable[..., str]) -> None:
    message = refused('a,b\n1,x\n"2,y\n3,z\n4,q\n')
    assert message == ", line 3: a quote is not closed"


def test_an_open_quote_in_a_long_file_is_told_too(refused: Callable[..., str]) -> None:
    message = refused('a,b\n1,x\n"2,y\n' + "3,z\n" * 50_000)
    assert message.startswith(", line 3: ") and "quote" in message


def test_text_after_a_closing_quote_is_told(refused: Callable[..., str]) -> None:
    assert refused('a,b\n1,x\n"2"3,y\n').startswith(", line 3: ")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "cp1252"])
def test_another_encoding_is_told(encoding: str, refused: Callable[..., str]) -> None:
    content = "größe,y\n1,ä\n2,é\n".encode(encoding)
    message = refused(content)
    assert message.startswith(": expected UTF-8 text") and "save it as UTF-8" in message


@pytest.mark.parametrize(
    ("start", "format"),
    [
        (b"PK\x03\x04\x14", "a zip archive or an Excel workbook"),
        (b"\x28\xb5\x2f\xfdab", "Zstandard"),
        (b"<html><table>", "HTML"),
    ],
)
def test_another_format_under_a_name_of_csv_is_told(
    start: bytes, format: str, refused: Callable[..., str]
) -> None:
    assert f"found {format}; save" in refused(start + PLAIN.encode())


def test_parquet_under_a_name_of_csv_is_told(refused: Callable[..., str]) -> None:
    stream = io.BytesIO()
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(stream)
    assert "found Parquet; save" in refused(stream.getvalue())


@pytest.mark.parametrize("name", ["x^", "x^2", "PAR1", "BZh", "x\x01"])
def test_a_name_that_looks_like_compressed_data_is_a_name(
    name: str, read: Read
) -> None:
    assert read(f"{name},y\n1,2\n").columns == [name, "y"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [PLAIN, "имя,город\nя,2\n"])
def test_utf_16_without_a_mark_is_told(
    text: str, encoding: str, refused: Callable[..., str]
) -> None:
    assert "found UTF-16; save it as UTF-8" in refused(text.encode(encoding))


def test_a_zero_byte_is_told(refused: Callable[..., str]) -> None:
    message = refused(PLAIN.encode() * 9 + b"1,x\0\n")
    assert message.startswith(", line 28: expected text, found a zero byte")


def test_a_zero_byte_is_told_wherever_it_stands_in_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 40_000 + b"1,x\0\n"))
    with pytest.raises(DataError, match="line 40002: expected text, found a zero byte"):
        list(read_parts(path))


@pytest.mark.parametrize("mark", ["\ufeff", "\ufffe"])
def test_utf_16_with_a_mark_is_read(mark: str, read: Read) -> None:
    encoding = "utf-16-le" if mark == "\ufeff" else "utf-16-be"
    table = "größe,y\n1,ä\n2,\U0001f600\n"
    assert_frame_equal(read(("\ufeff" + table).encode(encoding)), read(table))


def test_damaged_utf_16_is_told(refused: Callable[..., str]) -> None:
    message = refused("größe,y\n1,2\n".encode("utf-16")[:-1])
    assert message.startswith(": damaged UTF-16 text")


@pytest.mark.parametrize(
    ("above", "names"),
    [
        ("# made by x\n# on a day, in a place, z\n", ["a", "b"]),
        ("# made by x\r\n\r\n", ["a", "b"]),
        ("#a,b\n", ["#a", "b"]),
        ("## about\n#a,b\n", ["#a", "b"]),
    ],
)
def test_comments_above_the_header_are_left_out(
    above: str, names: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    header = "" if names[0] == "#a" else "a,b\n"
    path.write_text(f"{above}{header}1,x\n2,y\n", newline="")
    part = read_csv(path)
    assert part.frame.columns == names and len(part.frame) == 2
    said = [finding.sentence for finding in part.findings]
    comments = above.count("#") > (names[0] == "#a")
    assert said == ["t.csv: comments (#) above the header are left out"] * comments


def test_a_title_above_the_header_is_told(refused: Callable[..., str]) -> None:
    assert "a title above the header has to go" in refused("Sales\na,b\n1,x\n")


@pytest.mark.parametrize("field", [r'"say \"hi\" to"', '"a"b"c"'])
def test_a_quote_that_is_not_doubled_is_told(
    field: str, refused: Callable[..., str]
) -> None:
    message = refused(f"a,b\n1,x\n{field},y\n")
    assert message.startswith(", line 3: ") and "doubled" in message


def test_an_odd_byte_late_in_the_file_is_told(refused: Callable[..., str]) -> None:
    content = PLAIN.encode() + b"3,z\n" * 10_000 + b"4,\xff\n"
    assert refused(content).startswith(": expected UTF-8 text, found byte 0xff")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,,c", ": column 2 has no name in the header, and row 1 has '2' in it"),
        ('a,b,""', ": column 3 has no name in the header, and row 1 has '3' in it"),
        ("a,b,a", ": the header names column 'a' twice; rename one of them"),
    ],
)
def test_a_bad_header_is_told(
    header: str, message: str, refused: Callable[..., str]
) -> None:
    assert refused(f"{header}\n1,2,3\n").startswith(message)


def test_a_title_with_separators_is_told(refused: Callable[..., str]) -> None:
    message = refused("Sales of 2024,,\n,,\na,b,y\n1,2,3\n")
    assert "row 2 has 'b' in it: name it; a title above the header has to go" in message


@pytest.mark.parametrize("code", ['="00012"', '"=""00012"""'])
def test_text_that_excel_writes_as_a_formula_is_text(code: str, read: Read) -> None:
    assert rows(read(f"a,b\n{code},x\n7,y\n")) == [("00012", "x"), ("7", "y")]


def test_the_index_of_pandas_has_no_name(read: Read) -> None:
    frame = read(",b, c \n0,2,3\n")
    assert frame.columns == ["Unnamed: 0", "b", "c"]


@pytest.mark.parametrize("mark", ["sep=;\n", "SEP=;\r\n", "\ufeffsep=;\n"])
def test_a_spreadsheet_names_the_separator_before_the_header(
    mark: str, read: Read
) -> None:
    frame = read(f"{mark}a,1;b\n1,5;x\n")
    assert (frame.columns, rows(frame)) == (["a,1", "b"], [("1,5", "x")])


def test_a_text_may_be_long(read: Read) -> None:
    long = "word " * 40_000
    for text in (f'a,b\n"{long}",1\n', f"a,b\n{long},1\n", f'a,b\n5" {long},1\n'):
        assert long in rows(read(text))[0][0]


def test_the_limit_of_a_field_is_that_of_others_again(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    path = tmp_path / "data.csv"
    long = "x" * (limit + 1)
    path.write_text(f"a,b\n\n1,{long}\n")  # a blank line needs the careful reader
    assert rows(read_csv(path).frame) == [("1", long)]
    assert csv.field_size_limit() == limit


fields = st.text(st.sampled_from('ab1 ,;"\n\r'), max_size=5)
lines = st.lists(st.lists(fields, min_size=1, max_size=4), min_size=1, max_size=5)


@settings(deadline=None, max_examples=150)
@given(lines)
def test_both_readers_agree_on_any_text(
    tmp_path_factory: pytest.TempPathFactory, written: list[list[str]]
) -> None:
    text = "\n".join(map(",".join, [["c0", "c1"], *written]))
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text.encode())
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        expected = [tuple(row) for row in reader if row]
    except csv.Error:
        expected = [()]
    if all(len(row) == 2 for row in expected):
        body = [row for row in expected[1:] if row != expected[0]]
        assert rows(read_csv(path).frame) == body
    else:
        with pytest.raises(DataError):
            read_csv(path)


def test_a_last_line_of_too_many_fields_does_not_make_up_for_a_short_one(
    refused: Callable[..., str],
) -> None:
    assert refused("a,b\n1,x\n3\n,,").startswith(", line 3: expected 2 fields")


def test_damaged_gzip_is_told_or_harmless(read: Read) -> None:
    text = "a,b\n" + "".join(f"{i * 7919 % 1000},x{i % 13}\n" for i in range(300))
    whole = gzip.compress(text.encode())
    expected = rows(read(text))
    told = 0
    for place in range(2, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        try:
            # A few bytes do not matter: time and system in the head.
            assert rows(read(bytes(damaged), "data.csv.gz")) == expected
        except DataError:
            told += 1
    assert told > len(whole) - 20


@pytest.mark.parametrize("length", [3, 5, 12, 30])
def test_a_cut_gzip_is_told(length: int, refused: Callable[..., str]) -> None:
    content = gzip.compress(PLAIN.encode() * 20)[:length]
    assert refused(content, "data.csv.gz").startswith(": damaged gzip data")
