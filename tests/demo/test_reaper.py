"""When the supervisor is killed, nothing it started survives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from portal.demo import reaper
from portal.demo.processes import ROOT
from tests.demo.conftest import soon

# Three parts: one that ends when asked, one that ignores everybody, one whose child left the group and the session.
SUPERVISOR = """
import sys, time
from pathlib import Path
from portal.demo.processes import Program, Reaper, inherited_environment
from portal.demo.supervisor import Part, Supervisor

folder = Path(sys.argv[1])
SERVE = "import time; print('ready', flush=True); time.sleep(600)"
CODES = {
    "polite": SERVE,
    "deaf": "import signal; signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN)\\n" + SERVE,
    "runaway": "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    " start_new_session=True)\\n" + SERVE,
}

def part(name, code):
    log = folder / f"{name}.log"
    return Part(Program(name=name, command=(sys.executable, "-c", code), log=log, environment=inherited_environment(),
                        ready=lambda: "ready" in log.read_text()))

supervisor = Supervisor([part(*it) for it in CODES.items()], Reaper(str(folder)), lambda line: None)
supervisor.start()
print("started", flush=True)
time.sleep(600)
"""


def started(folder: Path) -> subprocess.Popen[str]:
    it = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert it.stdout
    assert it.stdout.readline() == "started\n"
    return it


def test_a_killed_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    it = started(tmp_path)
    assert len(reaper.marked_processes(str(tmp_path))) == 4
    it.send_signal(signal.SIGKILL)
    it.wait()
    assert soon(lambda: not reaper.marked_processes(str(tmp_path)), 20)


def test_a_killed_warden_does_not_stop_the_supervisor_and_the_next_start_finds_the_rest(tmp_path: Path) -> None:
    it = started(tmp_path)
    for process in reaper.marked_processes(str(tmp_path)):
        assert os.getpgid(process) != os.getpgid(it.pid)
    children = Path(f"/proc/{it.pid}/task/{it.pid}/children")
    if children.exists():
        for child in map(int, children.read_text().split()):
            if child not in reaper.marked_processes(str(tmp_path)):
                os.kill(child, signal.SIGKILL)
    it.kill()
    it.wait()
    reaper.end_marked(str(tmp_path), patience=1)
    assert reaper.marked_processes(str(tmp_path)) == set()


def test_other_markers_are_left_alone(tmp_path: Path) -> None:
    environment = os.environ | {reaper.MARKER: f"{tmp_path}-other"}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment) as other:
        assert soon(lambda: reaper.marked_processes(f"{tmp_path}-other") == {other.pid})
        reaper.end_marked(str(tmp_path), patience=0.1)
        assert other.poll() is None
        other.kill()
