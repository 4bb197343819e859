"""Blocks of text are the same table as the whole."""

import csv
import gzip
import io

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.data.archives import ArchiveLimits
from libs.data.errors import ArchiveError, DataError
from libs.data.events.delimited import DelimitedFile

FIELD = st.text(st.sampled_from('ab",\n é'), max_size=6).map(lambda text: f"x{text}")


def opened(path, separator=None, block_bytes=8, limits=None):
    return DelimitedFile(
        path, path.name, separator, header=True, limits=limits or ArchiveLimits(), block_bytes=block_bytes
    )


def rows_of(file):
    frames = [rows for _, rows in file.blocks(file.columns, lambda fraction: None)]
    return pl.concat(frames).rows() if frames else []


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(FIELD, FIELD, FIELD), max_size=8), block_bytes=st.integers(1, 40), packed=st.booleans())
def test_any_block_size_gives_the_rows_that_were_written(tmp_path_factory, rows, block_bytes, packed):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("a", "b", "c"), *rows])
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    assert rows_of(opened(path, ",", block_bytes)) == rows


def test_numbers_of_rows_go_on(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n" * 50)
    begins = [(begin, len(rows)) for begin, rows in opened(path).blocks(["b"], lambda fraction: None)]
    assert begins[0][0] == 0
    assert [begin + count for begin, count in begins] == [*(begin for begin, _ in begins[1:]), 50]


@pytest.mark.parametrize("separator", ["\t", ",", ";", "|"])
def test_the_separator_is_told_by_the_first_line(tmp_path, separator):
    path = tmp_path / "x.csv"
    path.write_text(f"a b{separator}c\n1{separator}2\n")
    file = opened(path)
    assert (file.columns, rows_of(file)) == (["a b", "c"], [("1", "2")])


def test_quotes_mean_nothing_between_tabs(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text('a\tb\n12" disc\t1\n"open\t2\n')
    assert rows_of(opened(path)) == [('12" disc', "1"), ('"open', "2")]


def test_missing_fields_are_null_and_more_are_left_out(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1\n1,2,3\n\n4,5")
    assert rows_of(opened(path)) == [("1", None), ("1", "2"), (None, None), ("4", "5")]


def test_a_quote_that_is_not_closed_is_told(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,2\n"3,4\n' + "5,6\n" * 20)
    with pytest.raises(DataError, match="a quote is not closed"):
        rows_of(opened(path))


def test_a_gzip_bomb_is_refused(tmp_path):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10_000))
    with pytest.raises(ArchiveError, match="unpacks to more than the limit"):
        rows_of(opened(path, block_bytes=1 << 16, limits=ArchiveLimits(max_unpacked_bytes=20_000)))
