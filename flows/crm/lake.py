"""The lake: Parquet tables and documents by layer and month, each month of a layer described by a manifest.

A file is named after its own content and never changed. A month is written by putting its new files beside the
old ones and then replacing its manifest in one step: a reader sees the old month or the new one, also when the
writer is killed half-way or two of them write at once. The same content always gives the same bytes.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from flows.crm import storage
from flows.crm.failures import BadLake, MissingMonth
from flows.crm.storage import Store
from flows.crm.table_schema import Columns, Tables, to_arrow, to_pandas

Layer = Literal["raw", "processed", "features", "models", "reference", "reports"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

# What to do about a month that a layer does not have.
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
        """What a later layer says of where it came from: the same content has the same name."""
        return f"{self.layer} {self.month} {hashlib.sha256(self.encode()).hexdigest()[:16]}"

    @property
    def rows(self) -> dict[str, int]:
        return {name: entry.rows for name, entry in self.tables.items()}

    @property
    def files(self) -> list[str]:
        """Paths below the root of the lake, the manifest's own first."""
        named = [MANIFEST, *(entry.file for entry in (*self.tables.values(), *self.documents.values()))]
        return [f"{self.layer}/{self.month}/{file}" for file in named]


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
        kept = {
            name: self._keep(layer, month, f"{name}.parquet", _parquet(to_arrow(frame, columns[name])), len(frame))
            for name, frame in tables.items()
        }
        texts = {
            name: self._keep(layer, month, name, content, content.count(b"\n"))
            for name, content in (documents or {}).items()
        }
        manifest = Manifest(layer, month, source, kept, texts)
        self.store.put(f"{layer}/{month}/{MANIFEST}", manifest.encode())
        return manifest

    def manifest(self, layer: Layer, month: str) -> Manifest:
        path = f"{layer}/{month}/{MANIFEST}"
        try:
            found = json.loads(self.store.read(path))
            tables, documents = (
                {name: Entry(**entry) for name, entry in found.get(kind, {}).items()}
                for kind in ("tables", "documents")
            )
            return Manifest(found["layer"], found["month"], found["source"], tables, documents)
        except FileNotFoundError:
            raise MissingMonth(f"{MAKES[layer]} {month} first: {self.store.name} has no {WHAT[layer]} of it.") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise BadLake(f"{self.store.name}/{path} was damaged: {MAKES[layer].lower()} {month} again.") from None

    def read(self, manifest: Manifest) -> Tables:
        return {
            name: to_pandas(pq.read_table(pa.BufferReader(self._checked(manifest, entry))))
            for name, entry in manifest.tables.items()
        }

    def document(self, manifest: Manifest, name: str) -> bytes:
        if name not in manifest.documents:
            again = f"{MAKES[manifest.layer].lower()} {manifest.month} again"
            raise BadLake(f"{manifest.layer} {manifest.month} in {self.store.name} has no {name}: {again}.")
        return self._checked(manifest, manifest.documents[name])

    def months(self, layer: Layer) -> list[str]:
        return sorted(kept.path.split("/")[1] for kept in self.store.files(layer) if kept.path.endswith(f"/{MANIFEST}"))

    def remember_source(self, name: str, first: str, last: str) -> None:
        """What there is to acquire, for those who look at the lake without reading the source."""
        self.store.put(SOURCE, encode({"name": name, "first_month": first, "last_month": last}))

    def source_months(self) -> tuple[str, str] | None:
        try:
            found = json.loads(self.store.read(SOURCE))
            return str(found["first_month"]), str(found["last_month"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None  # it is told for comfort, and told anew by the next acquisition

    def address(self, manifest: Manifest, document: str) -> str:
        return f"{self.store.name}/{manifest.layer}/{manifest.month}/{manifest.documents[document].file}"

    def _keep(self, layer: Layer, month: str, name: str, content: bytes, rows: int) -> Entry:
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
        except FileNotFoundError:
            raise BadLake(f"{path} is missing although the manifest names it: {again}.") from None
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise BadLake(f"{path} was damaged: {again}.")
        return content


def from_environment(environment: Mapping[str, str] = os.environ) -> Lake:
    return Lake(storage.from_environment(environment))


def encode(value: Any) -> bytes:
    """JSON that is the same for the same value, and readable by every reader of JSON."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content
