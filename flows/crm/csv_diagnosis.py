"""Says what a file is that is not the CSV file it should be."""

import csv
import io
import re
import zipfile
from collections.abc import Iterable
from itertools import islice

from flows.crm.table_schema import Shape

WORKBOOK = ("an Excel workbook", "save the table as CSV in UTF-8")
# How a file begins -> what it is, and what to do with it.
FORMATS: dict[bytes, tuple[str, str]] = {
    b"\x1f\x8b": ("a gzip file", "unpack it"),
    b"PK\x03\x04": ("a zip file", "unpack it"),
    b"BZh": ("a bzip2 file", "unpack it"),
    b"\xfd7zXZ\0": ("an xz file", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("a zstandard file", "unpack it"),
    b"\xd0\xcf\x11\xe0": WORKBOOK,
    b"PAR1": ("a Parquet file", "export the table as CSV in UTF-8"),
    b"%PDF": ("a PDF file", "export the table as CSV in UTF-8"),
    b"\xff\xfe": ("text in UTF-16", "save it as CSV in UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as CSV in UTF-8"),
    b"<": ("a web page or XML", "export the table as CSV; a server may answer with its sign-in page"),
    b"{": ("JSON", "export the table as CSV in UTF-8"),
    b"[": ("JSON", "export the table as CSV in UTF-8"),
}
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", ":": "colons"}
LINES_ABOVE = 20  # how far down a header is looked for


def of_format(file: str, content: bytes) -> str | None:
    """Name another format by how the file begins, or return None."""
    begin = content[:64].lstrip()
    for signature, named in FORMATS.items():
        if begin.startswith(signature):
            what, action = WORKBOOK if _is_workbook(content) else named
            return f"{file} is {what}: {action}."
    return None


def of_header(file: str, content: bytes, header: list[str], missing: list[str], shape: Shape) -> str:
    """Say why columns are missing from a header."""
    if found := of_format(file, content):
        return found
    # 1. Another separator.
    for separator, name in SEPARATORS.items():
        if set(missing) <= {_plain(cell) for cell in separator.join(header).split(separator)} and len(header) == 1:
            return f"{file} separates its cells by {name}: save it with commas."
    # 2. Columns under other spellings.
    spellings = {_plain(cell): cell for cell in header}
    if respelt := {column: spellings[column] for column in missing if column in spellings}:
        changes = ", ".join(f"{found!r} to {column}" for column, found in respelt.items())
        return f"{file} spells its columns in another way: rename {changes} in the first line."
    # 3. Lines above the header.
    rows = csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""))
    for row in islice(rows, LINES_ABOVE):
        if set(shape.columns) <= {cell.strip() for cell in row}:
            return f"{file} has its header in line {rows.line_num}: remove the lines above it."
    begin = "" if set(header) & set(shape.columns) else f", and begins with {','.join(header)[:60]!r}"
    return f"{file} lacks {listed(missing)}{begin}: add what is missing, or export the file again."


def of_row(file: str, content: bytes, line: int, cells: int, expected: int) -> str:
    """Say why a row has another number of cells than the header."""
    last = content.count(b"\n") + 1
    if cells < expected and line == last and not content.endswith((b"\n", b"\r")):
        return (
            f"{file} is cut off in its last line, {line}, after {cells} of {expected} cells: export or copy it again."
        )
    reason = "put quotation marks around a cell that holds a comma" if cells > expected else "add the missing cells"
    return f"{file}, line {line}: {cells} cells where the header has {expected}: {reason}."


def listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"the columns {', '.join(most)} and {last}" if most else f"the column {last}"


def _plain(cell: str) -> str:
    """Return a column name without regard to case and to what joins its words: "Deal Stage" is deal_stage."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cell.strip().strip("\"'"))
    return re.sub(r"[\W_]+", "_", words).strip("_").lower()


def _is_workbook(content: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return any(name.startswith("xl/") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False
