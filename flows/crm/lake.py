"""The lake: Parquet tables and documents by layer and month, each month of a layer described by a manifest.

A file is named after its content and never changed. A month is written by adding its new files and then replacing its
manifest in one step: a reader sees the old month or the new one, even if the writer is killed or two write at once. The
same content always gives the same bytes.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter
from pydantic_core import from_json

from flows.crm import months, storage
from flows.crm.failures import BadLake, BadMonth, MissingMonth
from flows.crm.storage import Store
from flows.crm.table_schema import Columns, Tables, to_arrow, to_pandas

Layer = Literal["raw", "processed", "features", "models", "reference", "reports"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

# The action that writes a layer, for messages about a missing or damaged month.
MAKES: dict[Layer, str] = {
    "raw": "Acquire",
    "processed": "Ingest",
    "features": "Ingest",
    "models": "Train",
    "reference": "Create the reference data of",
    "reports": "Monitor",
}
WHAT: dict[Layer, str] = {
    "raw": "raw tables",
    "processed": "processed tables",
    "features": "features",
    "models": "model",
    "reference": "reference data",
    "reports": "drift report",
}
MANIFEST = "manifest.json"
SOURCE = "source.json"

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Entry:
    file: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    layer: Layer
    month: str
    source: str
    tables: dict[str, Entry]
    documents: dict[str, Entry] = field(default_factory=dict)  # by file name, such as card.json

    def encode(self) -> bytes:
        return encode(asdict(self))

    @property
    def name(self) -> str:
        """Identify the content, as the source of a later layer: the same content has the same name."""
        return f"{self.layer} {self.month} {hashlib.sha256(self.encode()).hexdigest()[:16]}"

    @property
    def rows(self) -> dict[str, int]:
        return {name: entry.rows for name, entry in self.tables.items()}

    @property
    def files(self) -> list[str]:
        """Paths relative to the root of the lake, the manifest first."""
        named = [MANIFEST, *(entry.file for entry in (*self.tables.values(), *self.documents.values()))]
        return [f"{self.layer}/{self.month}/{file}" for file in named]


# Reads manifests strictly: a field of another type is damage, and is found here instead of later.
MANIFESTS = TypeAdapter(Manifest)


@dataclass(frozen=True, slots=True)
class Lake:
    store: Store

    def write(
        self,
        layer: Layer,
        month: str,
        tables: Tables,
        columns: Mapping[str, Columns],
        *,
        source: str,
        documents: Mapping[str, bytes] | None = None,
    ) -> Manifest:
        """Write tables and documents, then the manifest that makes them visible."""
        entries = {
            name: self._put(layer, month, f"{name}.parquet", _parquet(to_arrow(frame, columns[name])), len(frame))
            for name, frame in tables.items()
        }
        texts = {
            name: self._put(layer, month, name, content, content.count(b"\n"))
            for name, content in (documents or {}).items()
        }
        manifest = Manifest(layer, month, source, entries, texts)
        # Last: a reader never finds a manifest whose files are missing.
        self.store.put(f"{layer}/{month}/{MANIFEST}", manifest.encode())
        return manifest

    def manifest(self, layer: Layer, month: str) -> Manifest:
        """Return the manifest of a month; raise `MissingMonth` or `BadLake`."""
        # Two different remedies: a missing month has to be written, a damaged one written again.
        path = f"{layer}/{month}/{MANIFEST}"
        try:
            found = MANIFESTS.validate_json(self.store.read(path), strict=True)
            if (found.layer, found.month) != (layer, month):
                raise ValueError
        except FileNotFoundError:
            raise MissingMonth(f"{MAKES[layer]} {month} first: {self.store.name} has no {WHAT[layer]} of it.") from None
        except (ValueError, IsADirectoryError):
            raise BadLake(f"{self.store.name}/{path} was damaged: {MAKES[layer].lower()} {month} again.") from None
        return found

    def manifests(self, layer: Layer, warn: Warn) -> list[Manifest]:
        """Return the readable manifests of a layer, oldest month first. See `each`."""
        return self.each(layer, lambda manifest: manifest, warn)

    def each[T](self, layer: Layer, read: Callable[[Manifest], T], warn: Warn, *, without: str = "") -> list[T]:
        """Return what `read` makes of each month of a layer, oldest first.

        A damaged month is named by `warn` and skipped: it must not block the pipelines of other months. The month
        `without` is not read.
        """
        found = []
        for month in self.months(layer):
            if month != without:
                try:
                    found.append(read(self.manifest(layer, month)))
                except (BadLake, MissingMonth) as error:
                    warn(f"Skipped the {WHAT[layer]} of {month}: {error}")
        return found

    def read(self, manifest: Manifest) -> Tables:
        """Return the tables of a month; raise `BadLake` if a file is missing or changed."""
        return {
            name: to_pandas(pq.read_table(pa.BufferReader(self._checked(manifest, entry))))
            for name, entry in manifest.tables.items()
        }

    def document(self, manifest: Manifest, name: str) -> bytes:
        """Return a document of a month; raise `BadLake` if it is missing or changed."""
        if name not in manifest.documents:
            again = f"{MAKES[manifest.layer].lower()} {manifest.month} again"
            raise BadLake(f"{manifest.layer} {manifest.month} in {self.store.name} has no {name}: {again}.")
        return self._checked(manifest, manifest.documents[name])

    def months(self, layer: Layer) -> list[str]:
        """Return the months of a layer that have a manifest, oldest first."""
        # A stray folder or file is no month.
        paths = (re.fullmatch(rf"{layer}/([^/]+)/{MANIFEST}", file.path) for file in self.store.files(layer))
        return sorted(found[1] for found in paths if found and months.is_month(found[1]))

    def remember_source(self, name: str, first: str, last: str) -> None:
        """Store which months the source has, for pages that offer months without reading the source."""
        self.store.put(SOURCE, encode({"name": name, "first_month": first, "last_month": last}))

    def source_months(self) -> tuple[str, str] | None:
        try:
            found = from_json(self.store.read(SOURCE))
            first, last = found["first_month"], found["last_month"]
            months.require_within(first, first, last)
            months.last_day(last)
            return first, last
        except (FileNotFoundError, IsADirectoryError, BadMonth, ValueError, TypeError, KeyError):
            return None  # only a suggestion, and written again by the next acquisition

    def address(self, manifest: Manifest, document: str) -> str:
        return f"{self.store.name}/{manifest.layer}/{manifest.month}/{manifest.documents[document].file}"

    def _put(self, layer: Layer, month: str, name: str, content: bytes, rows: int) -> Entry:
        # The content is in the name, so a concurrent writer cannot replace a file that a manifest names.
        digest = hashlib.sha256(content).hexdigest()
        stem, _, kind = name.rpartition(".")
        entry = Entry(f"{stem}.{digest[:16]}.{kind}", rows, digest)
        self.store.put(f"{layer}/{month}/{entry.file}", content)
        return entry

    def _checked(self, manifest: Manifest, entry: Entry) -> bytes:
        path = f"{self.store.name}/{manifest.layer}/{manifest.month}/{entry.file}"
        again = f"{MAKES[manifest.layer].lower()} {manifest.month} again"
        try:
            content = self.store.read(f"{manifest.layer}/{manifest.month}/{entry.file}")
        except (FileNotFoundError, IsADirectoryError):
            raise BadLake(f"{path} is missing although the manifest names it: {again}.") from None
        # The name has only 16 digits of the digest; the manifest has all of it.
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise BadLake(f"{path} was damaged: {again}.")
        return content


def from_environment(environment: Mapping[str, str] = os.environ) -> Lake:
    return Lake(storage.from_environment(environment))


def encode(value: Any) -> bytes:
    """Return deterministic JSON, without NaN, which other JSON parsers refuse."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _parquet(table: pa.Table) -> bytes:
    # Into memory: the digest of the content is part of the file's name.
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content
