"""`manage.py demo` as a person starts it, kills it, starts it again and stops it."""

import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from portal.demo import reaper
from portal.demo.processes import ROOT, NotStarted, inherited_environment, time_zone
from portal.demo.stack import Options, Stack
from tests.demo.conftest import soon

PATIENCE = 300


class Demo:
    """A demo in a process of its own, and what it prints."""

    def __init__(self, data: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--data", str(data), *options],
            cwd=ROOT,
            env=inherited_environment() | time_zone(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.printed = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def await_line(self, start: str) -> str:
        while True:
            line = self._lines.get(timeout=PATIENCE)
            assert line, f"It ended before it said “{start}”:\n{self.printed}"
            self.printed += line
            if line.startswith(start):
                return line

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> str:
        """Ctrl-C, once; answers the last line."""
        self.process.send_signal(signal.SIGINT)
        line = self.await_line("Everything is stopped")
        assert self.process.wait(30) == 0
        return line


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that also another user may pass through, which pytest's own do not allow."""
    with tempfile.TemporaryDirectory(prefix="portal-demo-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        path = Path(folder).resolve() / "demo"
        yield path
        reaper.end_marked(str(path), patience=1)


def logs(data: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in (data / "logs").iterdir())


def command_lines(processes: set[int]) -> str:
    return "\n".join(Path(f"/proc/{it}/cmdline").read_bytes().decode(errors="replace") for it in processes)


def test_a_demo_is_killed_stopped_and_does_the_main_job_on_what_it_left(data: Path) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        taken = somebody.getsockname()[1]

        killed = Demo(data, "--port", str(taken))
        killed.await_line("Postgres … ready")
        second = Demo(data)
        second.await_line("CommandError: A demo already runs on ")
        assert second.process.wait(30) == 1
        killed.await_line("Web … ready")
    assert f"Port {taken} is taken: the portal uses " in killed.printed
    port = next(line for line in killed.printed.splitlines() if line.startswith(f"Port {taken}")).rpartition(" ")[2]
    assert httpx.get(f"http://127.0.0.1:{port.rstrip('.')}/admin/login/", trust_env=False).is_success
    assert soon(lambda: len(reaper.marked_processes(str(data))) >= 3, 20), "nothing runs that a kill could leave behind"
    secrets = {path.name: path.read_text() for path in (data / "secrets").iterdir()}
    killed.kill()
    assert soon(lambda: not reaper.marked_processes(str(data)), 40)

    stopped = Demo(data, "--port", "0", "--environments", "dev", "--no-story")
    stopped.await_line("Web … ready")
    stopped.stop()
    assert not (data / "portal.env").exists()
    assert reaper.marked_processes(str(data)) == set()

    checked = Demo(data, "--check", "--environments", "dev")
    checked.await_line("ok      every environment is synced")
    assert {path.name: path.read_text() for path in (data / "secrets").iterdir()} == secrets
    if Path("/proc").exists():
        told = command_lines(reaper.marked_processes(str(data)))
        assert "qcluster" in told
        assert not [name for name, secret in secrets.items() if secret in told]
    for step in (
        "otto signs in on the page",
        "otto lists the deployments with a token",
        "crm-data-acquisition runs in dev until Completed, with its log",
        "the events of the run arrive",
        "long-haul starts in dev and is cancelled with a reason",
        "heartbeat in dev is refused to vera",
        "the audit trail is intact",
    ):
        checked.await_line(f"ok      {step}")
    checked.await_line("Everything is stopped")
    tokens = {path.name: path.read_text() for path in (data / "tokens").iterdir()}
    assert tokens.keys() == {"vera", "otto", "anna", "ada", "bea", "axel"}
    assert not [name for name, text in tokens.items() if text in checked.printed + logs(data)]
    assert checked.process.wait(30) == 0
    assert not (data / "portal.env").exists()
    assert reaper.marked_processes(str(data)) == set()


def test_a_database_that_somebody_uses_is_refused(data: Path, own_database: str) -> None:
    options = Options(data=data, port=0, prefect_port=0, environments=["dev"], database=own_database)
    stack = Stack(options, lambda line: None)
    try:
        with pytest.raises(NotStarted, match="already holds a portal, and a demo would add accounts"):
            stack.start()
    finally:
        stack.stop()


def test_a_name_that_cannot_be_an_environment_is_refused() -> None:
    command = [sys.executable, "manage.py", "demo", "--environments", "dev,dev"]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--environments" in done.stderr
