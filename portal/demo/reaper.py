"""Ends the process groups of a stack when its supervisor dies.

Run as a file and without site-packages, so that it is small and starts at once. It reads `+GROUP RANK` and `-GROUP`
from its standard input; the end of that input means that the supervisor is gone, even after a SIGKILL.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

# Every process of a stack inherits this variable, so that even one that left its process group is found again.
MARKER = "PORTAL_STACK"
# Seconds between the polite signal and SIGKILL.
PATIENCE = 5.0


def marked_processes(value: str) -> set[int]:
    """Return the processes with this marker in their environment, as far as this user may read them."""
    wanted = f"{MARKER}={value}".encode()
    if not Path("/proc/self/environ").exists():
        return _marked_by_ps(wanted)
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
        except OSError:
            # It has ended meanwhile, or belongs to another user.
            continue
    return found


def _marked_by_ps(wanted: bytes) -> set[int]:
    # macOS has no /proc; its ps shows the environment of one's own processes.
    listing = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, check=False).stdout
    return {int(line.split()[0]) for line in listing.splitlines() if wanted + b" " in line + b" "} - {os.getpid()}


def send(number: signal.Signals, *, groups: Iterable[int] = (), processes: Iterable[int] = ()) -> None:
    """Send a signal to groups and processes; those that are gone are skipped."""
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            continue
    for process in processes:
        try:
            os.kill(process, number)
        except (ProcessLookupError, PermissionError):
            continue


def lives(group: int) -> bool:
    """Whether a process group still has living members."""
    try:
        # Signal 0 only asks. macOS answers EPERM when all members are zombies.
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def end_groups(groups: set[int], patience: float = PATIENCE) -> None:
    """Send SIGINT to the groups, wait until they end or `patience` is over, then send SIGKILL."""
    send(signal.SIGINT, groups=groups)
    deadline = time.monotonic() + patience
    while any(map(lives, groups)) and time.monotonic() < deadline:
        time.sleep(0.05)
    send(signal.SIGKILL, groups=groups)


def end_marked(value: str, patience: float = PATIENCE) -> set[int]:
    """End every process with the marker, and return those there were at first."""
    found = marked_processes(value)
    send(signal.SIGINT, processes=found)
    deadline = time.monotonic() + patience
    while marked_processes(value) and time.monotonic() < deadline:
        time.sleep(0.1)
    # In a loop, because a process may start another one between the look and the signal.
    while left := marked_processes(value):
        send(signal.SIGKILL, processes=left)
        time.sleep(0.05)
        if time.monotonic() > deadline + patience:
            break
    return found


def main() -> None:
    # 1. Ignore Ctrl-C: the terminal sends it to everyone, and this process has to be the last.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # 2. Keep the list of groups, until the supervisor closes the pipe or dies.
    marker, ranks = sys.argv[1], dict[int, int]()
    for line in sys.stdin:
        word, _, rank = line.strip().partition(" ")
        if word.startswith("+"):
            ranks[int(word[1:])] = int(rank)
        else:
            ranks.pop(int(word[1:]), None)
    # 3. End the groups, dependencies last: a flow run reports its end to its server, and the server to Postgres.
    for rank in sorted(set(ranks.values()), reverse=True):
        end_groups({group for group, its_rank in ranks.items() if its_rank == rank})
    # 4. End what left its group: flow runs have sessions of their own.
    end_marked(marker, patience=1.0)


if __name__ == "__main__":
    main()
