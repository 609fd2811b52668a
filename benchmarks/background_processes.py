"""The background processes of the portal, for benchmarks and proofs that kill them in the middle of their work."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from portal.demo.processes import ROOT


class Background:
    """`manage.py qcluster`, started again when its parent process was killed, as a supervisor does."""

    def __init__(self, log: str, **stub: str) -> None:
        self._log, self._stub = log, stub
        self.start()

    def start(self) -> None:
        with Path(self._log).open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "qcluster"],
                cwd=ROOT,
                env=os.environ | self._stub,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(lambda: len(self.pids()) > 3, 120)

    def pids(self) -> list[int]:
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
        return [pid for pid, parent in pairs if self.process.pid in (pid, parent)]

    def kill_one(self, dice: random.Random, rather: Collection[int] = ()) -> int:
        """Kill one of the processes, one of these if any of them is there; return which."""
        pids = self.pids()
        pid = dice.choice([each for each in pids if each in rather] or pids)
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        if self.process.poll() is not None:
            self.start()
        return pid

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(90)


def until(true: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"{seconds} s passed and nothing was seen.")
        time.sleep(0.005)
