"""Starts parts in the order of their dependencies, restarts those that die, and stops them in reverse order."""

import enum
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from portal.demo.processes import NotStarted, Process, Program, Reaper

# Seconds between two rounds over all parts, and the pauses before a restart, doubled at each death.
TICK = 0.2
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
# A part that ran this long has recovered: its next restart begins with the shortest pause again.
SETTLED = 60.0


class State(enum.Enum):
    WAITING = enum.auto()
    STARTING = enum.auto()
    UP = enum.auto()
    ENDING = enum.auto()


@dataclass(slots=True, eq=False)
class Part:
    """A program, its dependencies and its state."""

    program: Program
    needs: tuple[str, ...] = ()  # these must be up before it starts, and are stopped after it
    after: tuple[str, ...] = ()  # these must be up before it starts
    # Called with the seconds since its start: a text is the reason to restart it although it still runs.
    problem: Callable[[float], str] | None = None
    state: State = State.WAITING
    process: Process | None = None
    pause: float = SHORTEST_PAUSE
    not_before: float = 0.0

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def ends_by_itself(self) -> bool:
        return self.program.ready is None


class Supervisor:
    """Drives all parts from one thread. Nothing here blocks, so that one signal is enough to stop everything."""

    def __init__(self, parts: Sequence[Part], reaper: Reaper, say: Callable[[str], None]) -> None:
        self.parts: dict[str, Part] = {}
        self.add(*parts)
        self.stopping = self.hurried = False
        self._reaper = reaper
        self._say = say
        self._started = False

    def add(self, *parts: Part) -> None:
        self.parts |= {part.name: part for part in parts}

    def ask_to_stop(self) -> None:
        """Request a stop; at the second call, without waiting for a graceful end. Safe inside a signal handler."""
        self.hurried = self.stopping
        self.stopping = True

    def start(self, *names: str) -> bool:
        """Run until these parts are up, or all; return False if a stop was requested meanwhile. Raises `NotStarted`."""
        # Until everything was up once, a part that dies is an error to report, not something to restart.
        self._started = False
        awaited = [self.parts[name] for name in names] or list(self.parts.values())
        while not self.stopping:
            for part in self.parts.values():
                self._advance(part)
            if all(part.state is State.UP for part in awaited):
                self._started = True
                return True
            time.sleep(TICK)
        return False

    def is_up(self) -> bool:
        return all(part.state is State.UP for part in self.parts.values())

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Keep all parts running until a stop is requested or `until` returns True."""
        while not self.stopping and not until():
            for part in self.parts.values():
                self._advance(part)
            time.sleep(TICK)

    def stop(self) -> None:
        """End all parts, each after those that need it."""
        # In rounds: a part gets its signal as soon as nothing that needs it is left, others meanwhile go on ending.
        self.stopping = True
        running = [part for part in self.parts.values() if part.process]
        while running:
            needed = {name for part in running for name in part.needs}
            running = [part for part in running if part.name in needed or not self._ended(part)]
            time.sleep(TICK / 4)

    def rank(self, part: Part) -> int:
        """Return the depth of its dependencies. The reaper ends the highest rank first."""
        return max((self.rank(self.parts[name]) + 1 for name in part.needs), default=0)

    def _advance(self, part: Part) -> None:
        match part.state:
            case State.WAITING:
                ready = all(self.parts[name].state is State.UP for name in (*part.needs, *part.after))
                if ready and time.monotonic() >= part.not_before:
                    part.process = Process(part.program, self._reaper, self.rank(part))
                    part.state = State.STARTING
            case State.STARTING:
                self._await(part)
            case State.UP:
                self._check(part)
            case State.ENDING:
                if self._ended(part):
                    part.state = State.WAITING

    def _await(self, part: Part) -> None:
        assert part.process
        program, age = part.program, part.process.age
        if part.process.is_ready():
            part.state = State.UP
            self._say(f"{part.name} … {'done' if part.ends_by_itself else 'ready'} in {age:.1f} s")
        elif (code := part.process.exit_code) is not None and (code or not part.ends_by_itself):
            self._give_up(part, f"{part.name} ended with code {code} instead of starting.")
        elif age > program.patience:
            self._give_up(
                part, f"{part.name} is not ready after {program.patience:.0f} s: waiting for {program.waits_for}."
            )

    def _give_up(self, part: Part, sentence: str) -> None:
        assert part.process
        if not self._started:
            raise NotStarted(f"{sentence} The end of {part.program.log}:\n{part.process.log_tail()}")
        self._restart(part, sentence)

    def _check(self, part: Part) -> None:
        if part.ends_by_itself:
            return
        assert part.process
        if part.process.exit_code is not None:
            self._restart(part, f"{part.name} ended unexpectedly with code {part.process.exit_code}.")
        elif part.problem and (sentence := part.problem(part.process.age)):
            self._restart(part, f"{part.name}: {sentence}")

    def _restart(self, part: Part, sentence: str) -> None:
        assert part.process
        part.pause = SHORTEST_PAUSE if part.process.age > SETTLED else min(part.pause * 2, LONGEST_PAUSE)
        part.not_before = time.monotonic() + part.pause
        # Ended first even if it is dead: its process group may have children that still hold ports.
        part.state = State.ENDING
        self._say(f"{sentence} Restarting in {part.pause:.0f} s. Log: {part.program.log}")

    def _ended(self, part: Part) -> bool:
        if part.process and not part.process.end(at_once=self.hurried):
            return False
        part.process = None
        return True
