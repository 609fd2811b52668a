"""CSV files as the source: read as they are written, refused with file, line, column and what to do."""

from pathlib import Path

import pytest

from flows.crm import source
from flows.crm.failures import BadSource
from tests.crm.tables import CSV, deals, write

HEADER = CSV["sales_pipeline"].splitlines()[0]
DEAL = "D1,Ada,GTXPro,Acorn,Won,2017-01-10,2017-02-01,4800"


def load(folder: Path) -> source.Source:
    return source.load({"CRM_SOURCE_DIR": str(folder)})


def test_a_folder_of_csv_files_is_read(tmp_path: Path) -> None:
    found = load(write(tmp_path))
    assert {name: len(table) for name, table in found.tables.items()} == {
        "accounts": 2,
        "products": 2,
        "sales_teams": 3,
        "sales_pipeline": 6,
    }
    deal = found.tables["sales_pipeline"].set_index("opportunity_id").loc["D1"]
    assert deal["engage_date"].date().isoformat() == "2017-01-10"
    assert deal["close_value"] == 4800


def test_an_empty_cell_may_be_spelt_out(tmp_path: Path) -> None:
    accounts = load(write(tmp_path)).tables["sales_pipeline"].set_index("opportunity_id")["account"]
    assert accounts["D4"] is None, "written as null"
    assert accounts["D5"] is None, "written as nothing"


def test_the_same_content_has_the_same_name_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = load(write(tmp_path / "one")), load(write(tmp_path / "two"))
    assert first.name == second.name
    other = load(write(tmp_path / "two", products="product,series,sales_price\nGTX Pro,GTX,4822\n"))
    assert other.name != first.name


@pytest.mark.parametrize(
    "text",
    [
        CSV["sales_pipeline"].replace("\n", "\r\n"),
        "\ufeff" + CSV["sales_pipeline"],
        CSV["sales_pipeline"] + "\n,,,,,,,\n",
        CSV["sales_pipeline"].replace("Ada", '"Ada"').replace("Acorn", " Acorn "),
        "\n".join(f"{line},more" for line in CSV["sales_pipeline"].splitlines()),
        CSV["sales_pipeline"].replace("4800", "4800.0"),
    ],
    ids=["windows line ends", "byte order mark", "empty lines", "quotes and spaces", "another column", "decimals"],
)
def test_the_ways_in_which_programs_write_csv_make_no_difference(tmp_path: Path, text: str) -> None:
    (tmp_path / "plain").mkdir()
    plain = load(write(tmp_path / "plain")).tables["sales_pipeline"]
    assert load(write(tmp_path, sales_pipeline=text)).tables["sales_pipeline"].equals(plain)


BAD: dict[str, tuple[dict[str, str], str]] = {
    "no bytes": (
        {"products": ""},
        "products.csv is empty: export it again, with the columns product, series and sales_price.",
    ),
    "only blank lines": (
        {"products": "\n\n"},
        "products.csv is empty: export it again, with the columns product, series and sales_price.",
    ),
    "only a header": (
        {"products": "product,series,sales_price\n"},
        "products.csv has a header and no rows: export it again.",
    ),
    "a column missing": (
        {"products": "product,series\nGTX Pro,GTX\n"},
        "products.csv lacks the column sales_price: add what is missing, or export the file again.",
    ),
    "two columns missing": (
        {"products": "product\nGTX Pro\n"},
        "products.csv lacks the columns series and sales_price: add what is missing, or export the file again.",
    ),
    "a column twice": (
        {"products": "product,series,sales_price,series\nGTX Pro,GTX,1,MG\n"},
        "products.csv has the column series twice: remove one of them.",
    ),
    "a date in another order": (
        {"sales_pipeline": deals(DEAL, DEAL.replace("D1", "D2").replace("2017-01-10", "10/01/2017"))},
        "sales_pipeline.csv, line 3, column engage_date: '10/01/2017' is not a date since 1900: "
        "write it as YYYY-MM-DD, such as 2017-03-31.",
    ),
    "a day that is none": (
        {"sales_pipeline": deals(DEAL.replace("2017-02-01", "2017-02-30"))},
        "sales_pipeline.csv, line 2, column close_date: '2017-02-30' is not a date since 1900: "
        "write it as YYYY-MM-DD, such as 2017-03-31.",
    ),
    "a value in words": (
        {"sales_pipeline": deals(DEAL.replace("4800", "4.800 EUR"))},
        "sales_pipeline.csv, line 2, column close_value: '4.800 EUR' is not a number: "
        "write it with digits and a point, such as 1054.5.",
    ),
    "half an employee": (
        {"accounts": CSV["accounts"].replace("2822", "28.5")},
        "accounts.csv, line 2, column employees: '28.5' is not a whole number: write digits only, such as 1200.",
    ),
    "an identifier twice": (
        {"sales_pipeline": deals(DEAL, DEAL.replace("D1", "D2"), DEAL)},
        "sales_pipeline.csv, line 4, column opportunity_id: 'D1' is already in line 2: keep one of the two.",
    ),
    "an identifier empty": (
        {"accounts": CSV["accounts"].replace("Beech,", ",")},
        "accounts.csv, line 3, column account: the cell is empty: every row needs an identifier.",
    ),
    "a comma too many": (
        {"sales_pipeline": deals(DEAL.replace("Acorn", "Acorn, Ltd"))},
        "sales_pipeline.csv, line 2: 9 cells where the header has 8: "
        "put quotation marks around a cell that holds a comma.",
    ),
    "a quotation mark left open": (
        {"products": 'product,series,sales_price\n"GTX Pro,GTX,1\n'},
        "products.csv, line 2: not a CSV file (unexpected end of data): export it again.",
    ),
}


@pytest.mark.parametrize(("changed", "sentence"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, changed: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadSource) as refusal:
        load(write(tmp_path, **changed))
    assert str(refusal.value) == sentence


def test_a_missing_file_is_named_with_its_columns(tmp_path: Path) -> None:
    (write(tmp_path) / "sales_teams.csv").unlink()
    with pytest.raises(BadSource) as refusal:
        load(tmp_path)
    assert str(refusal.value) == (
        f"sales_teams.csv is missing from {tmp_path}: "
        "put it there, with the columns sales_agent, manager and regional_office."
    )


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSource) as refusal:
        load(tmp_path / "nowhere")
    assert str(refusal.value) == (
        f"CRM_SOURCE_DIR names {tmp_path / 'nowhere'}, which is not a folder: name the folder of the CSV files, "
        "or unset it to use generated data."
    )


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (write(tmp_path) / "products.csv").unlink()
    (tmp_path / "products.csv").mkdir()
    with pytest.raises(BadSource, match=r"products\.csv cannot be read: make it a file that this worker may read\.$"):
        load(tmp_path)


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    (write(tmp_path) / "products.csv").write_bytes("product,series,sales_price\nGTX Pr\u00f6,GTX,1\n".encode("latin-1"))
    with pytest.raises(BadSource, match=r"^products\.csv is not UTF-8 text \(byte 33\): save it as CSV in UTF-8\.$"):
        load(tmp_path)
