"""The lake: Parquet tables by layer and month in one folder, each month described by a manifest.

A table file is named after its own content and never changed. A month is written by putting its new files beside the
old ones and then replacing its manifest in one step: whoever reads sees the old month or the new one, also when the
writer is killed half-way or two of them write at once. The same tables always give the same bytes.
"""

import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from flows.crm.failures import BadLake, MissingMonth
from flows.crm.shape import Columns, Tables, to_arrow, to_pandas

Layer = Literal["raw", "processed", "features"]

# What to do about a month that a layer does not have.
MAKES: dict[Layer, str] = {"raw": "Acquire", "processed": "Ingest", "features": "Ingest"}
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class TableEntry:
    file: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    layer: Layer
    month: str
    source: str
    tables: dict[str, TableEntry]

    def encode(self) -> bytes:
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()

    @property
    def name(self) -> str:
        """What a later layer says of where it came from: the same content has the same name."""
        return f"{self.layer} {self.month} {hashlib.sha256(self.encode()).hexdigest()[:16]}"

    @property
    def rows(self) -> dict[str, int]:
        return {name: entry.rows for name, entry in self.tables.items()}


@dataclass(frozen=True, slots=True)
class Lake:
    root: Path

    def write(
        self, layer: Layer, month: str, tables: Tables, columns: Mapping[str, Columns], *, source: str
    ) -> Manifest:
        folder = self._folder(layer, month)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise BadLake(f"CRM_LAKE names {self.root}, where a file is in the way: name a folder.") from None
        except PermissionError:
            raise BadLake(f"{folder} cannot be written: give this worker the right to, or change CRM_LAKE.") from None
        entries: dict[str, TableEntry] = {}
        for name, frame in tables.items():
            content = _parquet(to_arrow(frame, columns[name]))
            digest = hashlib.sha256(content).hexdigest()
            entries[name] = TableEntry(f"{name}.{digest[:16]}.parquet", len(frame), digest)
            put(folder / entries[name].file, content)
        manifest = Manifest(layer, month, source, entries)
        put(folder / MANIFEST, manifest.encode())
        return manifest

    def manifest(self, layer: Layer, month: str) -> Manifest:
        path = self._folder(layer, month) / MANIFEST
        try:
            found = json.loads(path.read_bytes())
            entries = {name: TableEntry(**entry) for name, entry in found["tables"].items()}
            return Manifest(found["layer"], found["month"], found["source"], entries)
        except (FileNotFoundError, NotADirectoryError):
            raise MissingMonth(f"{MAKES[layer]} {month} first: {self.root} has no {layer} tables of it.") from None
        except (ValueError, TypeError, KeyError):
            raise BadLake(f"{path} was damaged: {MAKES[layer].lower()} {month} again.") from None

    def read(self, manifest: Manifest) -> Tables:
        folder = self._folder(manifest.layer, manifest.month)
        return {
            name: to_pandas(_checked(folder / entry.file, entry, manifest)) for name, entry in manifest.tables.items()
        }

    def months(self, layer: Layer) -> list[str]:
        return sorted(path.parent.name for path in (self.root / layer).glob(f"*/{MANIFEST}"))

    def _folder(self, layer: Layer, month: str) -> Path:
        return self.root / layer / month


def from_environment(environment: Mapping[str, str] = os.environ) -> Lake:
    named = environment.get("CRM_LAKE", "").strip()
    if named:
        return Lake(Path(named).expanduser().absolute())
    here = Path.cwd()
    if here.parent == Path(tempfile.gettempdir()).resolve() and here.name.endswith("prefect"):
        # A process worker runs a deployment without a working directory in a folder that it removes afterwards.
        raise BadLake(
            "The lake would be lost with this run's temporary folder: set CRM_LAKE on the worker, "
            "or publish the pipelines with --working-directory."
        )
    return Lake(here / "var" / "lake")


def put(path: Path, content: bytes) -> None:
    """All of the content or nothing of it: written beside the target, then renamed over it."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _checked(path: Path, entry: TableEntry, manifest: Manifest) -> pa.Table:
    again = f"{MAKES[manifest.layer].lower()} {manifest.month} again"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BadLake(f"{path} is missing although the manifest names it: {again}.") from None
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BadLake(f"{path} was damaged: {again}.")
    return pq.read_table(pa.BufferReader(content))
