"""Sources of the CRM tables: the generator, or CSV files in a folder or at a URL."""

import base64
import csv
import hashlib
import http.client
import io
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd

from flows.crm.failures import BadSource, SourceAway
from flows.crm.generator import Recipe, generate
from flows.crm.table_schema import SHAPES, Kind, Shape, Tables, typed

# Spellings of an empty cell; some database exports write "null".
NOTHING = ("", "null")
TIMEOUT = 30.0  # seconds for one response of the source's server
LARGEST = 256 * 2**20  # bytes of one file, which is read into memory whole


@dataclass(frozen=True, slots=True)
class Source:
    name: str  # the source in the manifest; the same data has the same name
    tables: Tables


def load(environment: Mapping[str, str] = os.environ) -> Source:
    """Read all tables of the source. `CRM_DRIFT` (0 to 1) sets the drift of generated tables."""
    folder, address = (environment.get(name, "").strip() for name in ("CRM_SOURCE_DIR", "CRM_SOURCE_URL"))
    if folder and address:
        raise BadSource("CRM_SOURCE_DIR and CRM_SOURCE_URL both name a source: unset one of them.")
    if folder:
        return from_folder(Path(folder))
    if address:
        return from_address(address)
    return from_generator(environment.get("CRM_DRIFT", "").strip() or "0")


def from_generator(drift: str) -> Source:
    try:
        strength = float(drift)
    except ValueError:
        strength = -1
    if not 0 <= strength <= 1:
        raise BadSource(f"CRM_DRIFT is {drift!r}: write a number from 0 (no drift) to 1.")
    recipe = Recipe(drift=strength)
    return Source(f"generator, seed {recipe.seed}, drift {recipe.drift:g}", generate(recipe).tables)


def from_folder(folder: Path) -> Source:
    if not folder.is_dir():
        raise BadSource(
            f"CRM_SOURCE_DIR names {folder}, which is not a folder: name the folder of the CSV files, "
            "or unset it to use generated data."
        )
    return from_files({name: _read(folder / f"{name}.csv", shape) for name, shape in SHAPES.items()})


def from_address(address: str) -> Source:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSource(
            "CRM_SOURCE_URL must begin with http:// or https:// and a host: "
            "name the address under which the CSV files lie."
        )
    return from_files({name: fetch(f"{address.rstrip('/')}/{name}.csv") for name in SHAPES})


def from_files(contents: Mapping[str, bytes]) -> Source:
    """Parse the files. The source is named after their content: the same files give the same months anywhere."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents.values())).hexdigest()
    tables = {name: parse(f"{name}.csv", contents[name], shape) for name, shape in SHAPES.items()}
    return Source(f"CSV files {digest[:16]}", tables)


def fetch(address: str, *, largest: int = LARGEST) -> bytes:
    """Download one file; raise `SourceAway` if a retry may help, else `BadSource`."""
    parts = urlsplit(address)
    # The URL may contain a user and a password, which no message repeats.
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
    request = urllib.request.Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # Unredirected: another host must not receive the password.
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(secret.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(largest + 1)  # one more, to tell "too large" from "just fits"
    except urllib.error.HTTPError as error:
        if error.code in (408, 429) or error.code >= 500:
            raise SourceAway(f"{shown} answers {error.code}: run this again when its server is well.") from None
        raise BadSource(f"{shown} answers {error.code}: put the file there, or correct CRM_SOURCE_URL.") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise SourceAway(f"{shown} cannot be read ({reason}): start its server, or correct CRM_SOURCE_URL.") from None
    if len(content) > largest:
        raise BadSource(f"{shown} is larger than {largest // 2**20} MiB: name the address of the CRM tables.")
    return content


def parse(file: str, content: bytes, shape: Shape) -> pd.DataFrame:
    """Return the typed rows of a CSV file; raise `BadSource` with line and column of the first error."""
    # 1. The header: columns may come in any order, and more than the required ones.
    lines = _lines(file, content)
    header = _header(file, next(lines, (0, []))[1], shape)
    cells: dict[str, list[Any]] = {column: [] for column in shape.columns}
    first_line: dict[str, int] = {}
    # 2. The rows, cell by cell and not with pandas.read_csv, which guesses types and cannot name line and column.
    for line, row in lines:
        if len(row) != len(header):
            raise BadSource(
                f"{file}, line {line}: {len(row)} cells where the header has {len(header)}: "
                "put quotation marks around a cell that holds a comma."
            )
        record = dict(zip(header, row, strict=True))
        for column, kind in shape.columns.items():
            cells[column].append(_cell(f"{file}, line {line}, column {column}", record[column].strip(), kind))
        # 3. Identifiers are unique: a repeated deal would count twice in every rate.
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


def _header(file: str, row: list[str], shape: Shape) -> list[str]:
    header = [column.strip() for column in row]
    if not header:
        raise BadSource(f"{file} is empty: export it again, with {_columns(shape.columns)}.")
    if missing := [column for column in shape.columns if column not in header]:
        raise BadSource(f"{file} lacks {_columns(missing)}: add what is missing, or export the file again.")
    if twice := [column for column in shape.columns if header.count(column) > 1]:
        raise BadSource(f"{file} has the column {twice[0]} twice: remove one of them.")
    return header


def _read(path: Path, shape: Shape) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadSource(
            f"{path.name} is missing from {path.parent}: put it there, with {_columns(shape.columns)}."
        ) from None
    except (PermissionError, IsADirectoryError):
        raise BadSource(f"{path} cannot be read: make it a file that this worker may read.") from None


def _lines(file: str, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with the number of their last line in the file."""
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        yield from ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
    except UnicodeDecodeError as error:
        raise BadSource(f"{file} is not UTF-8 text (byte {error.start}): save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise BadSource(f"{file}, line {reader.line_num}: not a CSV file ({error}): export it again.") from None


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


def _cell(place: str, text: str, kind: Kind) -> Any:
    if text.lower() in NOTHING:
        return None
    read, what = READERS[kind]
    try:
        return read(text)
    except ValueError:
        raise BadSource(f"{place}: {text[:40]!r} is not {what}.") from None


def _columns(names: Iterable[str]) -> str:
    *most, last = names
    return f"the columns {', '.join(most)} and {last}" if most else f"the column {last}"
