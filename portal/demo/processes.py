"""Runs a program in its own session with a log file, checks whether it is ready, and ends it as a group."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portal.demo import reaper as demo_reaper

ROOT = Path(__file__).resolve().parent.parent.parent
# Prefixes of variables that configure a part. A stack must not inherit those of the shell it is started in.
OWN_SETTINGS = ("PORTAL_", "PREFECT_", "DJANGO_", "PG", "Q_CLUSTER_", "DATABASE_URL")
# The signals to end a process, from polite to final.
LADDER = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LAST_LINES = 12


class NotStarted(Exception):
    """A part could not be started; the message tells what happened and what to do."""


@dataclass(frozen=True, slots=True)
class User:
    """The operating system's user that runs a program."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, and how to tell whether it is ready. `patience` and `grace` are seconds."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(repr=False)  # holds secrets, which is why no command line does
    folder: Path = ROOT
    user: User | None = None
    # A check, or a text that its log must contain; None for a program that ends by itself, with code 0.
    ready: Callable[[], bool] | str | None = None
    waits_for: str = "it to end"
    patience: float = 120.0
    grace: float = 4.0


def inherited_environment() -> dict[str, str]:
    """Return this process's environment without anything that configures the portal, Prefect, Django or Postgres."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
    # Without this, clients would send requests for this machine to the proxy of the network.
    local = [kept.get("NO_PROXY") or kept.get("no_proxy") or "", "127.0.0.1", "localhost"]
    kept["PYTHONUNBUFFERED"] = "1"
    kept["NO_PROXY"] = kept["no_proxy"] = ",".join(filter(None, local))
    return kept


def time_zone() -> dict[str, str]:
    """Return this process's time zone setting."""
    return {name: os.environ[name] for name in ("PORTAL_TIME_ZONE", "PORTAL_TIME_ZONE_FILE") if name in os.environ}


def chosen_settings() -> dict[str, str]:
    """Return the settings of the portal that a stack inherits: the time zone, and whose tokens are accepted."""
    issuers = ("PORTAL_JOB_ISSUERS", "PORTAL_SSO_")
    return time_zone() | {name: value for name, value in os.environ.items() if name.startswith(issuers)}


class Reaper:
    """The supervisor's end of the pipe to `reaper.py`, which ends all groups when the supervisor dies."""

    def __init__(self, marker: str, *, keep_open: tuple[int, ...] = ()) -> None:
        self.marker = marker
        self._process = subprocess.Popen(
            # Isolated and without site-packages, so that it is small and starts at once.
            [sys.executable, "-I", "-S", demo_reaper.__file__, marker],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            cwd="/",
            # The reaper keeps the lock on the data folder, so the next stack starts only after everything has ended.
            pass_fds=keep_open,
        )

    def add(self, group: int, rank: int) -> None:
        """Register a process group; groups of a higher rank are ended first."""
        self._send(f"+{group} {rank}")

    def remove(self, group: int) -> None:
        self._send(f"-{group}")

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            return

    def dismiss(self) -> None:
        """Close the pipe, so that it ends all that is left, and wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Process:
    """A running program, the leader of its session and process group."""

    def __init__(self, program: Program, reaper: Reaper, rank: int) -> None:
        self.program = program
        self._reaper = reaper
        self.started = time.monotonic()
        self.started_at = time.time()
        self._step = 0
        self._next_at = 0.0
        # 1. The log. It is appended to at every start, so readiness is searched only in what this process writes.
        self._log_begins = program.log.stat().st_size if program.log.exists() else 0
        descriptor = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # 2. The process, in a session of its own: Ctrl-C in the terminal reaches only the supervisor, which stops all
        #    in order. It inherits the marker, and so do its children.
        user = program.user
        try:
            self._popen = subprocess.Popen(
                program.command,
                cwd=program.folder,
                env={**program.environment, demo_reaper.MARKER: reaper.marker},
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=[] if user else None,
            )
        except OSError as error:
            raise NotStarted(f"{program.name} cannot be started: {error.strerror or error}.") from error
        finally:
            os.close(descriptor)
        # 3. From here on a killed supervisor leaves nothing behind; before, `reaper.end_marked` finds it by its marker.
        reaper.add(self.pid, rank)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def age(self) -> float:
        return time.monotonic() - self.started

    @property
    def exit_code(self) -> int | None:
        return self._popen.poll()

    def is_ready(self) -> bool:
        ready, code = self.program.ready, self.exit_code
        if ready is None:
            return code == 0
        if code is not None:
            return False
        return ready in self._output() if isinstance(ready, str) else ready()

    def log_tail(self) -> str:
        """Return the last lines of this process's output."""
        return "\n".join(f"  | {line}" for line in self._output().splitlines()[-LAST_LINES:])

    def _output(self) -> str:
        with self.program.log.open("rb") as file:
            file.seek(self._log_begins)
            return file.read().decode(errors="replace")

    def end(self, *, at_once: bool = False) -> bool:
        """Send the next signal if it is due; return True once the whole group is gone. Call it again until then."""
        # 1. Gone: the leader was collected, and its group has no members.
        if self._popen.poll() is not None and not demo_reaper.lives(self.pid):
            self._reaper.remove(self.pid)
            return True
        # 2. In a hurry: skip to SIGKILL.
        if at_once and self._step < len(LADDER) - 1:
            self._step, self._next_at = len(LADDER) - 1, 0.0
        if time.monotonic() < self._next_at:
            return False
        if self._step == len(LADDER):
            # Killed and still listed: zombies that this machine's init does not collect.
            self._reaper.remove(self.pid)
            return True
        # 3. The next signal; only the first has the program's own grace period.
        demo_reaper.send(LADDER[self._step], groups=[self.pid])
        self._next_at = time.monotonic() + (self.program.grace if self._step == 0 else 2.0)
        self._step += 1
        return False
