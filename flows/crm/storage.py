"""Storage of the lake: a local folder, or any URL that fsspec can open."""

import errno
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import fsspec

from flows.crm.failures import BadLake, LakeAway

# Protocols whose writes replace an object as a whole or not at all. Elsewhere a file is written first, then renamed.
WHOLE_OBJECTS = {"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"}

Content = bytes | memoryview

FULL = "free space there, for example with crm-data-cleanup, or set CRM_LAKE to another place"
DENIED = "give this worker the right to, or set CRM_LAKE to another place"
# What to do about an error of the operating system; for others, to run again.
ADVICE = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: "raise this worker's limit of the size of a file, or set CRM_LAKE to another place",
    errno.EROFS: "mount it for writing, or set CRM_LAKE to another place",
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.ENOENT: "create the folder, or set CRM_LAKE to another place",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """A file in the store, by its path relative to the root."""

    path: str
    size: int
    age: float | None  # seconds since it was written; None if the store does not say


class Store(Protocol):
    """Interface of a store. Paths are relative, with slashes.

    Raises `FileNotFoundError` for a file that is missing, `IsADirectoryError` for a folder, `LakeAway` for any other
    trouble.
    """

    @property
    def name(self) -> str: ...
    def read(self, path: str) -> bytes: ...
    def put(self, path: str, content: Content) -> None: ...
    def remove(self, path: str) -> None: ...
    def files(self, below: str = "") -> list[Kept]: ...


@dataclass(frozen=True, slots=True)
class Folder:
    root: Path

    @property
    def name(self) -> str:
        return str(self.root)

    def read(self, path: str) -> bytes:
        with naming_trouble(self.name, "read"):
            try:
                return (self.root / path).read_bytes()
            except NotADirectoryError as error:
                raise FileNotFoundError(*error.args) from None

    def put(self, path: str, content: Content) -> None:
        target = self.root / path
        with naming_trouble(self.name, "written"):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise BadLake(f"CRM_LAKE names {self.root}, where a file is in the way: name a folder.") from None
            put(target, content)

    def remove(self, path: str) -> None:
        with naming_trouble(self.name, "written"):
            (self.root / path).unlink(missing_ok=True)

    def files(self, below: str = "") -> list[Kept]:
        found = []
        with naming_trouble(self.name, "read"):
            for path in sorted((self.root / below).rglob("*")):
                try:
                    if path.is_file():
                        info = path.stat()
                        age = time.time() - info.st_mtime
                        found.append(Kept(path.relative_to(self.root).as_posix(), info.st_size, age))
                except FileNotFoundError:
                    continue  # deleted by a concurrent write or cleanup
        return found


@dataclass(frozen=True, slots=True)
class Remote:
    """A store on an fsspec file system; `root` is the path in that file system's notation."""

    system: Any
    root: str
    name: str  # the URL, without user and password

    def read(self, path: str) -> bytes:
        with naming_trouble(self.name, "read"):
            content: bytes = self.system.cat_file(self._at(path))
        return content

    def put(self, path: str, content: Content) -> None:
        target = self._at(path)
        with naming_trouble(self.name, "written"):
            content = bytes(content)  # not every file system of fsspec can write a view
            if WHOLE_OBJECTS & set(_protocols(self.system)):
                self.system.pipe_file(target, content)
                return
            self.system.makedirs(target.rpartition("/")[0], exist_ok=True)
            temporary = f"{target}.{uuid.uuid4().hex}.tmp"
            self.system.pipe_file(temporary, content)
            self.system.mv(temporary, target)

    def remove(self, path: str) -> None:
        with naming_trouble(self.name, "written"), suppress(FileNotFoundError):
            self.system.rm_file(self._at(path))

    def files(self, below: str = "") -> list[Kept]:
        self.system.invalidate_cache()  # another worker may have written since
        with naming_trouble(self.name, "read"):
            found = self.system.find(self._at(below) if below else self.root, detail=True)
        return [
            Kept(path.removeprefix(self.root).lstrip("/"), int(info["size"] or 0), _age(info))
            for path, info in sorted(found.items())
        ]

    def _at(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}"


@contextmanager
def naming_trouble(name: str, verb: str) -> Iterator[None]:
    """Raise an error of the operating system as `LakeAway`, which says what to do."""
    try:
        yield
    except OSError as error:
        # A file that is not there is an answer for a reader, and trouble for a writer.
        if verb == "read" and isinstance(error, FileNotFoundError | IsADirectoryError):
            raise
        advice = ADVICE.get(error.errno or 0, "run this again when its disk or server is well")
        raise LakeAway(f"The lake {name} cannot be {verb} ({error.strerror or error}): {advice}.") from error


def put(path: Path, content: Content) -> None:
    """Write a file atomically: to a temporary file in the same folder, then renamed over the target."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            # Before the rename: after a power cut the name must not point to an empty file.
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def from_environment(environment: Mapping[str, str] = os.environ) -> Store:
    """Return the store that CRM_LAKE names, by default var/lake in the current folder. Raises `BadLake`."""
    named = environment.get("CRM_LAKE", "").strip()
    if named.startswith("file://"):
        named = urlsplit(named).path
    if "://" in named:
        return remote(named)
    if named:
        return Folder(Path(named).expanduser().absolute())
    here = Path.cwd()
    if here.parent == Path(tempfile.gettempdir()).resolve() and here.name.endswith("prefect"):
        # Without a working directory, a process worker runs a deployment in a folder that it removes afterwards.
        raise BadLake(
            "The lake would be lost with this run's temporary folder: set CRM_LAKE on the worker, "
            "or publish the pipelines with --working-directory."
        )
    return Folder(here / "var" / "lake")


def remote(address: str) -> Remote:
    """Open a URL with fsspec; raise `BadLake` if its package is missing or its protocol unknown."""
    parts = urlsplit(address)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    try:
        system, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise BadLake(f"CRM_LAKE names {shown}, which needs a package on this worker: {error}.") from None
    except ValueError:
        raise BadLake(
            f"CRM_LAKE names {shown}, and nothing here opens {parts.scheme}://: "
            "name a folder, or an address that fsspec knows, such as s3://bucket/lake."
        ) from None
    return Remote(system, str(root), shown)


def _protocols(system: Any) -> tuple[str, ...]:
    named = system.protocol
    return (named,) if isinstance(named, str) else tuple(named)


def _age(info: dict[str, Any]) -> float | None:
    # Each file system has its own name for the time of the last write.
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        moment: object = info.get(key)
        if isinstance(moment, datetime):
            return time.time() - moment.timestamp()
        if isinstance(moment, int | float):
            return time.time() - moment
    return None
