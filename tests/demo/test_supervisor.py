"""Starting, watching and stopping parts that need one another."""

import os
import stat
from pathlib import Path

import pytest

from portal.demo import reaper
from portal.demo import supervisor as module
from portal.demo.processes import NotStarted
from portal.demo.supervisor import Part, State, Supervisor
from tests.demo.conftest import Script, soon

SERVE = "print('ready', flush=True); time.sleep(600)"
DEAF = "[signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)]\n" + SERVE


def test_a_part_starts_only_when_what_it_needs_is_up(supervisor: tuple[Supervisor, list[str]], script: Script) -> None:
    it, lines = supervisor
    it.add(
        Part(script("third", SERVE), ("second",)),
        Part(script("second", "time.sleep(0.5)", ends=True), ("first",)),
        Part(script("first", SERVE)),
    )
    assert it.start()
    assert [line.partition(" … ")[0] for line in lines] == ["first", "second", "third"]
    assert " … ready in " in lines[0]
    assert " … done in " in lines[1]


def test_parts_that_do_not_need_one_another_start_together(
    supervisor: tuple[Supervisor, list[str]], script: Script
) -> None:
    it, _ = supervisor
    slow = "time.sleep(1.5)\n" + SERVE
    it.add(Part(script("one", slow)), Part(script("other", slow)))
    assert it.start()
    one, other = (part.process for part in it.parts.values())
    assert one
    assert other
    assert abs(one.started - other.started) < 1


def test_a_part_that_dies_while_starting_is_a_sentence_with_its_last_words(
    supervisor: tuple[Supervisor, list[str]], script: Script
) -> None:
    it, _ = supervisor
    it.add(Part(script("broken", "sys.exit('no such table')")))
    with pytest.raises(NotStarted, match=r"broken ended with code 1 instead of starting(.|\n)*no such table"):
        it.start()


def test_a_part_that_takes_too_long_says_what_was_waited_for(
    supervisor: tuple[Supervisor, list[str]], script: Script
) -> None:
    it, _ = supervisor
    it.add(Part(script("slow", "print('hm', flush=True); time.sleep(600)", patience=0.5)))
    with pytest.raises(NotStarted, match="slow is not ready after 0 s: waiting for the word ready"):
        it.start()


def test_a_program_that_does_not_exist_is_a_sentence(
    supervisor: tuple[Supervisor, list[str]], script: Script, tmp_path: Path
) -> None:
    it, _ = supervisor
    program = script("missing", "")
    object.__setattr__(program, "command", (str(tmp_path / "nothing"),))
    it.add(Part(program))
    with pytest.raises(NotStarted, match="missing cannot be started: No such file or directory"):
        it.start()


def test_a_part_that_dies_is_started_again_and_said(
    supervisor: tuple[Supervisor, list[str]], script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHORTEST_PAUSE", 0.1)
    it, lines = supervisor
    it.add(part := Part(script("mortal", SERVE), pause=0.1))
    assert it.start()
    assert part.process
    first = part.process.pid
    os.kill(first, 9)
    it.watch(until=lambda: part.state is State.UP and part.process is not None and part.process.pid != first)
    assert "mortal ended unexpectedly with code -9. Restarting in " in lines[1]


def test_the_pauses_grow_while_a_part_keeps_dying(
    supervisor: tuple[Supervisor, list[str]], script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.4)
    it, lines = supervisor
    it.add(part := Part(script("dying", "print('ready', flush=True); time.sleep(0.5)"), pause=0.1))
    assert it.start()
    it.watch(until=lambda: sum("unexpectedly" in line for line in lines) == 3)
    assert part.pause == 0.4


def test_a_part_that_lives_but_ails_is_started_again(supervisor: tuple[Supervisor, list[str]], script: Script) -> None:
    it, lines = supervisor
    part = Part(script("ailing", SERVE), pause=0.1)
    first = 0
    part.problem = lambda age: "it does nothing." if part.process and part.process.pid == first else ""
    it.add(part)
    assert it.start()
    assert part.process
    first = part.process.pid
    it.watch(until=lambda: part.state is State.UP and part.process is not None and part.process.pid != first)
    assert lines[1].startswith("ailing: it does nothing. Restarting in ")
    assert not reaper.lives(first)


def test_what_a_dead_parent_left_is_ended_before_it_is_started_again(
    supervisor: tuple[Supervisor, list[str]], script: Script
) -> None:
    it, _ = supervisor
    code = f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n{SERVE}"
    it.add(part := Part(script("parent", code), pause=0.1))
    assert it.start()
    assert part.process
    group = part.process.pid
    os.kill(group, 9)
    assert reaper.lives(group)
    it.watch(until=lambda: part.state is State.UP and part.process is not None and part.process.pid != group)
    assert not reaper.lives(group)


def test_stopping_ends_first_what_others_do_not_need(
    supervisor: tuple[Supervisor, list[str]], script: Script, tmp_path: Path
) -> None:
    it, _ = supervisor
    order = tmp_path / "order"

    def noting(name: str) -> str:
        # Takes its time to end, so that a wrong order would show.
        return f"""
def end(*_):
    time.sleep(0.3)
    print({name!r}, file=open({str(order)!r}, "a"))
    sys.exit()
signal.signal(signal.SIGINT, end)
{SERVE}"""

    it.add(
        Part(script("ground", noting("ground"))),
        Part(script("house", noting("house")), ("ground",)),
        Part(script("roof", noting("roof")), ("house",)),
    )
    assert it.start()
    it.stop()
    assert order.read_text().split() == ["roof", "house", "ground"]
    assert reaper.marked_processes(str(tmp_path)) == set()


def test_what_ignores_every_request_is_killed(
    supervisor: tuple[Supervisor, list[str]], script: Script, tmp_path: Path
) -> None:
    it, _ = supervisor
    it.add(Part(script("deaf", DEAF, grace=0.3)))
    assert it.start()
    it.stop()
    assert soon(lambda: not reaper.marked_processes(str(tmp_path)), 3)


def test_asked_twice_it_waits_for_nobody(
    supervisor: tuple[Supervisor, list[str]], script: Script, tmp_path: Path
) -> None:
    it, _ = supervisor
    it.add(Part(script("deaf", DEAF, grace=600)))
    assert it.start()
    it.ask_to_stop()
    it.ask_to_stop()
    it.stop()
    assert soon(lambda: not reaper.marked_processes(str(tmp_path)), 3)


def test_a_stop_asked_for_while_starting_is_obeyed(supervisor: tuple[Supervisor, list[str]], script: Script) -> None:
    it, _ = supervisor
    it.add(Part(script("slow", "time.sleep(600)")))
    it.ask_to_stop()
    assert it.start() is False


def test_logs_are_for_their_owner_alone(
    supervisor: tuple[Supervisor, list[str]], script: Script, tmp_path: Path
) -> None:
    it, _ = supervisor
    it.add(Part(script("quiet", SERVE)))
    assert it.start()
    assert stat.S_IMODE((tmp_path / "quiet.log").stat().st_mode) == 0o600
