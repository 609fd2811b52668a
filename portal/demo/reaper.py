"""The last one out: outlives a killed supervisor just long enough to end what it left behind.

Run as a file and without site-packages, so that it is small and starts at once. It reads `+GROUP RANK` and `-GROUP`
from its standard input; the end of that input means that the supervisor is gone, however it went.
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
PATIENCE = 5.0


def marked_processes(value: str) -> set[int]:
    """The processes that carry this marker in their environment; those of other users stay unseen."""
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
            continue
    return found


def _marked_by_ps(wanted: bytes) -> set[int]:
    # macOS has no /proc; its ps shows the environment of one's own processes.
    listing = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, check=False).stdout
    return {int(line.split()[0]) for line in listing.splitlines() if wanted + b" " in line + b" "} - {os.getpid()}


def send(number: signal.Signals, *, groups: Iterable[int] = (), processes: Iterable[int] = ()) -> None:
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
    """Whether a process group still has members; macOS answers "not permitted" when only dead ones are left."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def end_groups(groups: set[int], patience: float = PATIENCE) -> None:
    """Ask politely, wait, then insist."""
    send(signal.SIGINT, groups=groups)
    deadline = time.monotonic() + patience
    while any(map(lives, groups)) and time.monotonic() < deadline:
        time.sleep(0.05)
    send(signal.SIGKILL, groups=groups)


def end_marked(value: str, patience: float = PATIENCE) -> set[int]:
    """End every process that carries the marker, and say which there were."""
    found = marked_processes(value)
    send(signal.SIGINT, processes=found)
    deadline = time.monotonic() + patience
    while marked_processes(value) and time.monotonic() < deadline:
        time.sleep(0.1)
    while left := marked_processes(value):
        send(signal.SIGKILL, processes=left)
        time.sleep(0.05)
        if time.monotonic() > deadline + patience:
            break
    return found


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    marker, ranks = sys.argv[1], dict[int, int]()
    for line in sys.stdin:
        word, _, rank = line.strip().partition(" ")
        if word.startswith("+"):
            ranks[int(word[1:])] = int(rank)
        else:
            ranks.pop(int(word[1:]), None)
    # What others stand on goes last: a flow run tells its server how it ended, the server tells Postgres.
    for rank in sorted(set(ranks.values()), reverse=True):
        end_groups({group for group, its_rank in ranks.items() if its_rank == rank})
    end_marked(marker, patience=1.0)


if __name__ == "__main__":
    main()
