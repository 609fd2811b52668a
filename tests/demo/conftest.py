"""Programs for the supervisor's tests: small scripts instead of servers."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from portal.demo.processes import Program, Reaper, inherited_environment
from portal.demo.supervisor import Supervisor

type Script = Callable[..., Program]


@pytest.fixture
def reaper(tmp_path: Path) -> Iterator[Reaper]:
    reaper = Reaper(str(tmp_path))
    yield reaper
    reaper.dismiss()


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A program from lines of Python; it is ready when it has printed "ready", unless told to run to its end."""

    def make(name: str, code: str, *, ends: bool = False, patience: float = 20, grace: float = 3) -> Program:
        return Program(
            name=name,
            command=(sys.executable, "-c", f"import os, signal, subprocess, sys, time\n{code}"),
            log=tmp_path / f"{name}.log",
            environment=inherited_environment(),
            ready=None if ends else "ready",
            waits_for="the word ready",
            patience=patience,
            grace=grace,
        )

    return make


@pytest.fixture
def supervisor(reaper: Reaper) -> Iterator[tuple[Supervisor, list[str]]]:
    """A supervisor, and the lines it prints."""
    lines: list[str] = []
    supervisor = Supervisor([], reaper, lines.append)
    yield supervisor, lines
    supervisor.hurried = True
    supervisor.stop()


def soon(holds: Callable[[], object], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return bool(holds())
