"""Parts that need one another: started as soon as what they need is up, restarted when they die, stopped in reverse."""

import enum
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from portal.demo.processes import NotStarted, Process, Program, Reaper

TICK = 0.2
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
# A part that lived this long has recovered: the next death begins with the shortest pause again.
SETTLED = 60.0


class State(enum.Enum):
    WAITING = enum.auto()
    STARTING = enum.auto()
    UP = enum.auto()
    ENDING = enum.auto()


@dataclass(slots=True, eq=False)
class Part:
    """A program, what it needs, and where it stands."""

    program: Program
    needs: tuple[str, ...] = ()  # these must be up before it starts, and are stopped after it
    after: tuple[str, ...] = ()  # these must be up before it starts
    # Told for how many seconds it has run: a sentence says why it must be started again although it still runs.
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
    """Drives all parts from one thread: nothing here waits, so one signal is enough to stop everything."""

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
        """Safe inside a signal handler. Asked twice, it no longer waits for anybody to end in peace."""
        self.hurried = self.stopping
        self.stopping = True

    def start(self, *names: str) -> bool:
        """Work until these parts are up, or all; False when a stop was asked for meanwhile. Raises `NotStarted`."""
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
        """Keep everything alive until a stop is asked for, or `until` says so."""
        while not self.stopping and not until():
            for part in self.parts.values():
                self._advance(part)
            time.sleep(TICK)

    def stop(self) -> None:
        """End every part, those that others need last."""
        self.stopping = True
        running = [part for part in self.parts.values() if part.process]
        while running:
            needed = {name for part in running for name in part.needs}
            running = [part for part in running if part.name in needed or not self._ended(part)]
            time.sleep(TICK / 4)

    def rank(self, part: Part) -> int:
        """How many layers of parts this one stands on."""
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
                self._look_after(part)
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
                part, f"{part.name} was given {program.patience:.0f} s and still waits for {program.waits_for}."
            )

    def _give_up(self, part: Part, sentence: str) -> None:
        assert part.process
        if not self._started:
            raise NotStarted(f"{sentence} The end of {part.program.log}:\n{part.process.last_words()}")
        self._begin_again(part, sentence)

    def _look_after(self, part: Part) -> None:
        if part.ends_by_itself:
            return
        assert part.process
        if part.process.exit_code is not None:
            self._begin_again(part, f"{part.name} ended unexpectedly with code {part.process.exit_code}.")
        elif part.problem and (sentence := part.problem(part.process.age)):
            self._begin_again(part, f"{part.name}: {sentence}")

    def _begin_again(self, part: Part, sentence: str) -> None:
        assert part.process
        part.pause = SHORTEST_PAUSE if part.process.age > SETTLED else min(part.pause * 2, LONGEST_PAUSE)
        part.not_before = time.monotonic() + part.pause
        part.state = State.ENDING
        self._say(f"{sentence} It is started again in {part.pause:.0f} s; its log is {part.program.log}.")

    def _ended(self, part: Part) -> bool:
        if part.process and not part.process.end(at_once=self.hurried):
            return False
        part.process = None
        return True
