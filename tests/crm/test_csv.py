"""CSV files: both readers agree, and a file that is none is called what it is."""

import gzip
import io
import zipfile
from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flows.crm import csv_reader, fast_csv
from flows.crm.csv_reader import parse
from flows.crm.failures import BadSource
from flows.crm.generator import Recipe, generate
from flows.crm.table_schema import SHAPES, Shape
from tests.crm.tables import CSV, TODAY, deals

SHAPE = Shape("name", {"name": "text", "count": "whole", "share": "number", "day": "date"})
UNHURRIED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PIECES = st.sampled_from(
    ["a", "b", "1", "1.0", "-2", "0.5", "2017-02-28", "2017-02-30", "2030-01-01", "null", "NULL", ",", '"', '""', " ",
     "\t", "\n", "\r\n", "\r", "\xa0", "\u3000", "\x1c", "\0", "#", "'", "\\", ";", "é", "\ufeff"]
)  # fmt: skip
CELLS = st.lists(PIECES, max_size=3).map("".join)
GOOD = [
    "a,1,0.5,2017-02-28",
    "b,1.0,null,",
    '"c, ""d""\n",,-2,2017-02-28',
    " e ,7, 1.5 ,",
    ",,,",
    "",
    "f,1,1,2017-02-28,",
]
LINES = st.one_of(st.sampled_from(GOOD), st.lists(CELLS, min_size=3, max_size=5).map(",".join))
HEADERS = ["name,count,share,day", "day,share,more,count,name", "\ufeffname,count,share,day", " name ,count,share,day"]
FILES = st.builds(
    lambda header, lines, ending, last: (ending.join([header, *lines]) + last).encode(),
    st.sampled_from(HEADERS),
    st.lists(LINES, max_size=4),
    st.sampled_from(["\n", "\n", "\r\n", "\r"]),
    st.sampled_from(["", "\n", ","]),
)  # fmt: skip


@UNHURRIED
@given(FILES)
@example(b'name,count,share,day\n "a",1,1,\n')
@example(b"name,count,share,day\na,1,1,,\n")
@example(b'name,count,share,day\n"a,b",1,1,\n"c",1,1,,\n')
def test_what_the_fast_reader_accepts_the_careful_one_reads_alike(content: bytes) -> None:
    fast = fast_csv.read(content, SHAPE, TODAY)
    if fast is not None:
        pd.testing.assert_frame_equal(fast, csv_reader._read_cells("a.csv", content, SHAPE, TODAY))


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_ordinary_files_are_read_fast(ending: str) -> None:
    """Otherwise the test above would compare nothing."""
    for name, frame in generate(Recipe(deals_a_month=20)).tables.items():
        content = frame.to_csv(index=False, lineterminator=ending).encode()
        fast = fast_csv.read(content, SHAPES[name], TODAY)
        assert fast is not None
        pd.testing.assert_frame_equal(fast, frame)
    assert fast_csv.read(CSV["sales_pipeline"].encode(), SHAPES["sales_pipeline"], TODAY) is not None
    cells = 'name,count,share,day\n"a,""b""",1,0.5,2017-02-28\n"c\nd",,,\n'
    assert fast_csv.read(cells.encode(), SHAPE, TODAY) is not None


def workbook(name: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(name, "content")
    return target.getvalue()


PRODUCTS = CSV["products"]
NOT_CSV: dict[str, tuple[bytes, str]] = {
    "gzip": (gzip.compress(PRODUCTS.encode()), "products.csv is a gzip file: unpack it."),
    "zip": (workbook("products.csv"), "products.csv is a zip file: unpack it."),
    "xlsx": (workbook("xl/workbook.xml"), "products.csv is an Excel workbook: save the table as CSV in UTF-8."),
    "parquet": (b"PAR1\x15\x04\x15", "products.csv is a Parquet file: export the table as CSV in UTF-8."),
    "utf-16": (PRODUCTS.encode("utf-16"), "products.csv is text in UTF-16: save it as CSV in UTF-8."),
    "web page": (
        b"<!DOCTYPE html>\n<title>Sign in</title>\n",
        "products.csv is a web page or XML: export the table as CSV; a server may answer with its sign-in page.",
    ),
    "json": (b'[{"product": "GTX Pro"}]', "products.csv is JSON: export the table as CSV in UTF-8."),
    "semicolons": (
        PRODUCTS.replace(",", ";").encode(),
        "products.csv separates its cells by semicolons: save it with commas.",
    ),
    "tabs": (PRODUCTS.replace(",", "\t").encode(), "products.csv separates its cells by tabs: save it with commas."),
    "a line above": (
        b"# exported on Monday\n" + PRODUCTS.encode(),
        "products.csv has its header in line 2: remove the lines above it.",
    ),
    "other spellings": (
        PRODUCTS.replace("product,series,sales_price", "product,Series,Sales Price").encode(),
        "products.csv spells its columns in another way: "
        "rename 'Series' to series, 'Sales Price' to sales_price in the first line.",
    ),
    "another table": (
        b"name,price\nGTX Pro,4821\n",
        "products.csv lacks the columns product, series and sales_price, and begins with 'name,price': "
        "add what is missing, or export the file again.",
    ),
    "cut off": (
        PRODUCTS.encode() + b"MG Adv,M",
        "products.csv is cut off in its last line, 4, after 2 of 3 cells: export or copy it again.",
    ),
    "a cell too few": (
        PRODUCTS.replace("GTX Pro,GTX,", "GTX Pro,").encode(),
        "products.csv, line 2: 2 cells where the header has 3: add the missing cells.",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), NOT_CSV.values(), ids=NOT_CSV.keys())
def test_a_file_that_is_none_is_called_what_it_is(content: bytes, sentence: str) -> None:
    with pytest.raises(BadSource) as refusal:
        parse("products.csv", content, SHAPES["products"], TODAY)
    assert str(refusal.value) == sentence


def refused(text: str, today: date = TODAY) -> str:
    with pytest.raises(BadSource) as refusal:
        parse("sales_pipeline.csv", text.encode(), SHAPES["sales_pipeline"], today)
    return str(refusal.value)


WON = "D1,Ada,GTXPro,Acorn,Won,2017-01-10,2017-02-01,4800"


def test_a_date_after_today_is_refused_with_its_place() -> None:
    late = deals(WON, WON.replace("D1", "D2").replace("2017-02-01", "2107-03-01"))
    assert refused(late) == (
        "sales_pipeline.csv, line 3, column close_date: 2107-03-01 is after today, 2018-01-01: correct the date."
    )
    closing = date(2017, 2, 1)
    parse("sales_pipeline.csv", deals(WON).encode(), SHAPES["sales_pipeline"], closing)
    assert "2017-02-01 is after today" in refused(deals(WON), closing - timedelta(days=1))


@pytest.mark.parametrize("wrong", ["1917-01-10", "2007-01-10"])
def test_a_date_far_from_all_others_is_refused_with_its_place(wrong: str) -> None:
    assert refused(CSV["sales_pipeline"].replace("2017-01-20", wrong)) == (
        f"sales_pipeline.csv, line 4, column engage_date: {wrong} is more than 5 years from every other date: "
        "correct the date."
    )


def test_a_pause_of_years_is_no_typing_error() -> None:
    rows = [
        f"D{year}{day},Ada,GTXPro,Acorn,Won,{year}-01-0{day},{year}-02-01,4800"
        for year in (2004, 2017)
        for day in range(1, 5)
    ]
    assert len(parse("sales_pipeline.csv", deals(*rows).encode(), SHAPES["sales_pipeline"], TODAY)) == 8
