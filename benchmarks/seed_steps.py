"""Fills a database in steps of SQL, and says how long each took."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import coolname
import psycopg

FOLDER = Path(__file__).parent
# Names of runs, as Prefect makes them.
WORDS = 20_000
CREATE_SIZE = (
    "CREATE TEMP TABLE size (runs int, deployments int, requests int, log_lines int, entries int, grants int, "
    "now timestamptz)"
)


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows of each kind there are for a number of runs."""

    runs: int
    deployments: int
    requests: int
    log_lines: int
    entries: int
    grants: int
    now: datetime

    @classmethod
    def of(cls, runs: int, now: datetime) -> Size:
        # One person has grants on 200 single deployments, however few runs there are.
        return cls(runs, max(runs // 500, 600), runs // 10, runs * 5, runs, max(runs // 100, 1000), now)


class Progress:
    """Prints each step with its seconds, and keeps them."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.seconds: dict[str, float] = {}

    def step(self, name: str) -> Timer:
        return Timer(self, name)


class Timer:
    def __init__(self, progress: Progress, name: str) -> None:
        self.progress, self.name = progress, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        passed = round(time.perf_counter() - self.began, 1)
        self.progress.seconds[self.name] = passed
        print(f"{self.progress.what}: {passed:7.1f} s  {self.name}", flush=True)


def statements(file: str) -> Iterator[tuple[str, str]]:
    """Yield the steps of a file in benchmarks: the name, and the statements."""
    text = (FOLDER / file).read_text()
    parts = re.split(r"^-- step: (.+)$", text, flags=re.MULTILINE)[1:]
    yield from zip(parts[::2], parts[1::2], strict=True)


def draft(connection: psycopg.Connection[Any], size: Size, progress: Progress) -> None:
    """Make the temporary tables of sizes, words, deployments and runs."""
    names: dict[str, None] = {}
    while len(names) < WORDS:
        names[coolname.generate_slug(2)] = None
    connection.execute(CREATE_SIZE)
    connection.execute("INSERT INTO size VALUES (%s, %s, %s, %s, %s, %s, %s)", astuple(size))
    connection.execute("CREATE TEMP TABLE word (id int PRIMARY KEY, text text NOT NULL)")
    with connection.cursor().copy("COPY word FROM STDIN") as copy:
        for row in enumerate(names):
            copy.write_row(row)
    run(connection, "seed_draft.sql", progress)


def run(connection: psycopg.Connection[Any], file: str, progress: Progress) -> None:
    for name, text in statements(file):
        with progress.step(name):
            connection.execute(text)  # type: ignore[call-overload]  # a file of the repository, not a literal


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Let the session fill tables quickly; foreign keys are not checked, the portal's own triggers all fire."""
    for text in (
        "SET session_replication_role = replica",
        "SET work_mem = '256MB'",
        "SET maintenance_work_mem = '512MB'",
        "SET synchronous_commit = off",
        "SET client_min_messages = warning",
    ):
        connection.execute(text)
