"""Reads CSV files of the source, and names file, line and column of the first error."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pandas as pd

from flows.crm import csv_diagnosis, fast_csv, months
from flows.crm.csv_diagnosis import listed
from flows.crm.failures import BadSource
from flows.crm.table_schema import Kind, Shape, typed

# Spellings of an empty cell; some database exports write "null".
NOTHING = ("", "null")
# A date that is further from every other date, on the side with as few dates, is a typing error. One of them would put
# a decade of months on offer.
FAR, FEW, RARE = timedelta(days=5 * 365), 3, 0.01  # the gap; dates beyond it, as a number or as a share of all


def parse(file: str, content: bytes, shape: Shape, today: date | None = None) -> pd.DataFrame:
    """Return the typed rows of a CSV file; raise `BadSource` with line and column of the first error.

    Dates after `today`, by default that of this worker, are errors.
    """
    today = today or months.today()
    table = fast_csv.read(content, shape, today)
    if table is None:
        table = _read_cells(file, content, shape, today)
    if odd := _far_date(table, shape):
        column, day = odd
        line = next(line for line, record in _records(file, content, shape) if record[column].strip() == f"{day}")
        raise BadSource(
            f"{file}, line {line}, column {column}: {day} is more than {FAR.days // 365} years from every other date: "
            "correct the date."
        )
    return table


def _read_cells(file: str, content: bytes, shape: Shape, today: date) -> pd.DataFrame:
    """Read cell by cell, and not with pandas.read_csv, which guesses types and cannot name line and column."""
    cells: dict[str, list[Any]] = {column: [] for column in shape.columns}
    first_line: dict[str, int] = {}
    for line, record in _records(file, content, shape):
        for column, kind in shape.columns.items():
            place = f"{file}, line {line}, column {column}"
            cells[column].append(_cell(place, record[column].strip(), kind, today))
        # Identifiers are unique: a repeated deal would count twice in every rate.
        identifier = cells[shape.identifier][-1]
        place = f"{file}, line {line}, column {shape.identifier}"
        if identifier is None:
            raise BadSource(f"{place}: the cell is empty: every row needs an identifier.")
        if identifier in first_line:
            raise BadSource(
                f"{place}: {identifier!r} is already in line {first_line[identifier]}: keep one of the two."
            )
        first_line[identifier] = line
    if not first_line:
        raise BadSource(f"{file} has a header and no rows: export it again.")
    return typed(shape.columns, cells)


def _records(file: str, content: bytes, shape: Shape) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows by column, with their line. Columns may come in any order, and more than the required ones."""
    lines = _lines(file, content)
    header = _header(file, content, next(lines, (0, []))[1], shape)
    for line, row in lines:
        if len(row) != len(header):
            raise BadSource(csv_diagnosis.of_row(file, content, line, len(row), len(header)))
        yield line, dict(zip(header, row, strict=True))


def _header(file: str, content: bytes, row: list[str], shape: Shape) -> list[str]:
    header = [column.strip() for column in row]
    if not header:
        raise BadSource(f"{file} is empty: export it again, with {listed(shape.columns)}.")
    if missing := [column for column in shape.columns if column not in header]:
        raise BadSource(csv_diagnosis.of_header(file, content, header, missing, shape))
    if twice := [column for column in shape.columns if header.count(column) > 1]:
        raise BadSource(f"{file} has the column {twice[0]} twice: remove one of them.")
    return header


def _lines(file: str, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with the number of their last line in the file."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        yield from ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
    except UnicodeDecodeError as error:
        reason = f"{file} is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8."
        raise BadSource(csv_diagnosis.of_format(file, content) or reason) from None
    except csv.Error as error:
        reason = f"{file}, line {reader.line_num}: not a CSV file ({error}): export it again."
        raise BadSource(csv_diagnosis.of_format(file, content) or reason) from None


def _far_date(table: pd.DataFrame, shape: Shape) -> tuple[str, date] | None:
    """Return the column and the value of a date that is far from all others, if there is one."""
    days = {column: table[column].dropna() for column, kind in shape.columns.items() if kind == "date"}
    every = pd.concat(days.values()).sort_values(ignore_index=True) if days else pd.Series(dtype="datetime64[ns]")
    gaps = every.diff()
    if not (gaps > FAR).any():
        return None
    after = int(gaps.argmax())  # the widest gap is before this one
    early, late = every[:after], every[after:]
    odd = early if len(early) <= len(late) else late
    if len(odd) > max(FEW, RARE * len(every)):
        return None
    return next((column, odd.iloc[0].date()) for column, found in days.items() if (found == odd.iloc[0]).any())


def _whole(text: str) -> int:
    # Stricter than int(): no underscores, spaces or digits of other scripts. Exports write 1200.0 for whole numbers.
    if not re.fullmatch(r"-?\d{1,15}(\.0+)?", text, re.ASCII):
        raise ValueError
    return int(text.partition(".")[0])


def _number(text: str) -> float:
    if not re.fullmatch(r"-?\d{1,15}(\.\d+)?", text, re.ASCII):
        raise ValueError
    return float(text)


def _date(text: str) -> date:
    if not re.fullmatch(r"(19|20|21)\d\d-\d\d-\d\d", text, re.ASCII):
        raise ValueError
    return date.fromisoformat(text)


READERS: dict[Kind, tuple[Callable[[str], Any], str]] = {
    "text": (str, "text"),
    "whole": (_whole, "a whole number: write digits only, such as 1200"),
    "number": (_number, "a number: write it with digits and a point, such as 1054.5"),
    "date": (_date, "a date since 1900: write it as YYYY-MM-DD, such as 2017-03-31"),
}


def _cell(place: str, text: str, kind: Kind, today: date) -> Any:
    if text.lower() in NOTHING:
        return None
    read, what = READERS[kind]
    try:
        value = read(text)
    except ValueError:
        raise BadSource(f"{place}: {text[:40]!r} is not {what}.") from None
    if kind == "date" and value > today:
        raise BadSource(f"{place}: {text} is after today, {today}: correct the date.")
    return value
