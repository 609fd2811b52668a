"""Sources of the CRM tables: the generator, or CSV files in a folder or at a URL."""

import base64
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flows.crm.csv_diagnosis import listed
from flows.crm.csv_reader import parse
from flows.crm.failures import BadSource, SourceAway
from flows.crm.generator import Recipe, generate
from flows.crm.table_schema import SHAPES, Shape, Tables

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


def _read(path: Path, shape: Shape) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadSource(
            f"{path.name} is missing from {path.parent}: put it there, with {listed(shape.columns)}."
        ) from None
    except (PermissionError, IsADirectoryError):
        raise BadSource(f"{path} cannot be read: make it a file that this worker may read.") from None
