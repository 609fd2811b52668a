"""Why a run failed, or why it does not start, in one sentence that says what to do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from flows.models import WorkPool
from runs.models import Run

# A worker polls every 15 s and needs a few more to start a process: younger than this is no trouble yet.
PATIENCE = timedelta(seconds=60)
# Prefect marks a run as cancelled by itself when nobody has confirmed it for this long.
GIVES_UP = timedelta(minutes=5)
LONGEST = 300
# What Prefect says of a run that it only planned.
PLAIN_NAMES = ("", "Flow run scheduled")


@dataclass(frozen=True, slots=True)
class Context:
    """What surrounds a run, all of it from Postgres. `busy` counts the runs that its pool works on, `siblings` those
    of its deployment; `down` says what the last look at the environment found, when that was not "up"."""

    now: datetime
    pool: WorkPool | None = None
    busy: int = 0
    siblings: int = 0
    down: str = ""


def explain(run: Run, scene: Context) -> str:
    """One sentence, or an empty string when there is nothing to explain."""
    if run.state_type in ("FAILED", "CRASHED"):
        return explain_failure(run)
    if run.is_terminal:
        return explain_cancellation(run) if run.state_type == "CANCELLED" else ""
    for applies, sentence in WAITING_RULES:
        if applies(run, scene):
            return fill(sentence, run, scene)
    return ""


# Why it does not go on: the first that applies is the reason, so the causes that hide others come first.
WAITING_RULES: tuple[tuple[Callable[[Run, Context], bool], str], ...] = (
    (lambda r, s: r.deleted_upstream_at is not None, "Prefect no longer has this run: somebody deleted it there."),
    (lambda r, s: bool(s.down), "{environment} cannot be read now, so this may have changed: {down}"),
    (
        lambda r, s: r.state_type == "CANCELLING" and age(r, s) > PATIENCE,
        "Nothing has confirmed the cancel for {age}. Prefect gives up after {gives_up} minutes and marks the run as "
        "cancelled; its process may still be working.",
    ),
    (lambda r, s: r.state_type == "CANCELLING", "Prefect has been asked to stop it and waits until its process ends."),
    (lambda r, s: r.state_type == "RUNNING", ""),
    (
        lambda r, s: r.state_type == "PAUSED",
        "It waits for somebody to resume it on Prefect's own page, and fails when nobody does.",
    ),
    (lambda r, s: r.state_name == "AwaitingRetry", "It failed, and will be tried again at {start}."),
    (
        lambda r, s: r.state_name == "AwaitingConcurrencySlot",
        "Its deployment may have {siblings_limit} at a time; it starts by itself when one of them ends.",
    ),
    (lambda r, s: is_later(r, s) and r.state_message not in PLAIN_NAMES, "It is scheduled for {start}. {message}"),
    (lambda r, s: is_later(r, s), "It is scheduled for {start}."),
    (
        lambda r, s: not r.work_pool_name,
        "Its deployment has no work pool, so no worker will take it: only a process that serves the flow can start it.",
    ),
    (
        lambda r, s: s.pool is None,
        "There is no work pool “{pool}” in {environment}. Create it, or deploy the flow to another one.",
    ),
    (
        lambda r, s: s.pool is not None and s.pool.is_paused,
        "Work pool “{pool}” is paused: nothing in it starts until somebody resumes it in Prefect.",
    ),
    (
        lambda r, s: r.state_type == "PENDING" and age(r, s) > PATIENCE,
        "A worker took it {age} ago, but its process has not begun. The log says how far it came.",
    ),
    (lambda r, s: r.state_type == "PENDING", "A worker has taken it and is starting its process."),
    (
        lambda r, s: s.pool is not None and needs_worker(s.pool) and not s.pool.workers,
        "Work pool “{pool}” has no worker. Start one: prefect worker start --pool {pool_word}",
    ),
    (
        lambda r, s: s.pool is not None and needs_worker(s.pool) and not s.pool.workers_online,
        "No worker of work pool “{pool}” is online; the last sign of life was {heartbeat}. "
        "Start one: prefect worker start --pool {pool_word}",
    ),
    (
        lambda r, s: s.pool is not None and is_full(s.pool.concurrency_limit, s.busy),
        "Work pool “{pool}” takes {pool_limit} at a time and is full; it starts by itself when one of them ends.",
    ),
    (
        lambda r, s: r.deployment is not None and is_full(r.deployment.concurrency_limit, s.siblings),
        "Its deployment may have {siblings_limit} at a time; it starts by itself when one of them ends.",
    ),
    (
        lambda r, s: r.is_auto_scheduled and r.deployment is not None and r.deployment.is_paused,
        "Its deployment is paused: what its schedule has planned does not start.",
    ),
    (
        lambda r, s: waited(r, s) > PATIENCE,
        "A worker of “{pool}” is online, but has not taken it for {waited}: see whether a worker listens to work queue "
        "“{queue}”, and whether that queue is paused or full.",
    ),
    (lambda r, s: True, "It waits for a worker of “{pool}” to take it."),
)


def fill(sentence: str, run: Run, scene: Context) -> str:
    """What the sentences in `WAITING_RULES` fill in."""
    pool, deployment = scene.pool, run.deployment
    return sentence.format(
        environment=run.environment,
        down=scene.down,
        age=span(age(run, scene)),
        waited=span(waited(run, scene)),
        gives_up=GIVES_UP // timedelta(minutes=1),
        start=moment(run.expected_start_at, scene.now),
        message=run.state_message[:LONGEST],
        pool=run.work_pool_name,
        pool_word=shlex.quote(run.work_pool_name),  # people paste it into a shell
        pool_limit=runs(pool.concurrency_limit if pool else None),
        siblings_limit=runs(deployment.concurrency_limit if deployment else None),
        heartbeat=moment(last_heartbeat(pool), scene.now) if pool else "",
        queue=run.work_queue_name or "default",
    )


def is_later(run: Run, scene: Context) -> bool:
    return run.state_type == "SCHEDULED" and run.expected_start_at is not None and run.expected_start_at > scene.now


def needs_worker(pool: WorkPool) -> bool:
    """Pools that Prefect Cloud empties itself have none."""
    return not pool.type.endswith((":push", ":managed"))


def is_full(limit: int | None, taken: int) -> bool:
    return limit is not None and taken >= limit


def age(run: Run, scene: Context) -> timedelta:
    """How long it has been in its state."""
    return scene.now - run.state_at if run.state_at else timedelta()


def waited(run: Run, scene: Context) -> timedelta:
    """How long past its time it is."""
    since = run.expected_start_at or run.state_at
    return scene.now - since if since else timedelta()


def last_heartbeat(pool: WorkPool) -> datetime | None:
    beats = [worker["last_heartbeat"] for worker in pool.workers if worker.get("last_heartbeat")]
    return max((datetime.fromisoformat(beat) for beat in beats), default=None)


def runs(limit: int | None) -> str:
    """A limit as words; without one, what a limit would have said."""
    return "only so many runs" if limit is None else f"{limit} run{'' if limit == 1 else 's'}"


def moment(at: datetime | None, now: datetime) -> str:
    """Today's times without the date; in the portal's time zone."""
    if at is None:
        return "a time that is not known"
    local, today = timezone.localtime(at), timezone.localtime(now)
    return f"{local:%H:%M:%S}" if local.date() == today.date() else f"{local:%d %b %Y %H:%M}"


def span(length: timedelta) -> str:
    """As people say it, with the one unit that matters: 42 s, 7 min, 3 h, 2 days."""
    seconds = max(int(length.total_seconds()), 0)
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


# What an exit status means to the operator of the worker; others are shown as they are.
EXITS: dict[int, str] = {
    1: "its code could not be loaded or it did not accept a parameter; the last lines of the log say which",
    2: "its command was not understood; the deployment's entrypoint or job settings are wrong",
    125: "its container could not be started; look at the image and at the container runtime",
    126: "its command may not be executed; look at the file permissions in its image",
    127: "its command was not found; look at what is installed where the worker runs",
    -9: "it was killed, most often because memory ran out",
    137: "it was killed, most often because memory ran out",
    247: "it was killed because memory ran out",
    -15: "it was told to stop from outside: the worker or its machine was shut down",
    143: "it was told to stop from outside: the worker or its machine was shut down",
    -11: "it crashed in compiled code",
    139: "it crashed in compiled code",
}

# What Prefect says -> what it means here; `{0}` is the first group, cut to a readable length.
FAILURES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), sentence)
    for pattern, sentence in (
        (r"exceeded timeout of ([\d.]+) second", "It took longer than its time limit of {0} s."),
        (
            r"Validation of flow parameters failed with error:\s*(.*)",
            "Its parameters were not accepted. {0}",
        ),
        (r"^Flow run encountered an exception:?\s*(.*)", "It failed: {0}"),
        (r"Task run encountered an exception:?\s*(.*)", "A task failed: {0}"),
        (r"^(\d+/\d+) states failed", "{0} of its tasks failed; the table of tasks says which."),
        (r"^(\d+/\d+) states are not final", "{0} of its tasks were left unfinished."),
        (r"aborted by a termination signal", "It was told to stop from outside: its worker or machine was shut down."),
        (r"aborted by an interrupt signal", "It was interrupted from the keyboard where it ran."),
        (r"aborted by Python system exit", "Its own code ended the process (sys.exit)."),
        (r"cancelled by the runtime environment", "Its process was stopped by what runs it, not by the flow."),
        (r"Request (?:to \S+ )?failed", "It lost its connection to Prefect while it was running."),
        (r"interrupted by an unexpected exception:\s*(.*)", "It was interrupted: {0}"),
        (r"Failed to submit flow run to infrastructure:\s*(.*)", "Its worker could not start it: {0}"),
        (r"^(?:Submission failed\.|Flow run submission failed:)\s*(.*)", "Its worker could not start it: {0}"),
        (r"^Flow run could not start:\s*(.*)", "It could not start: {0}"),
        (r"paused and never resumed", "It was paused, and nobody resumed it in time."),
        (
            r"could not durably persist a Cancelled",
            "It was stopped by a cancel, but its worker could not tell Prefect so.",
        ),
    )
)
EXIT = re.compile(r"exited with (?:a )?(?:non-zero )?status code:? (-?\d+)")
# The worker's own words for a cancel that worked say nothing new.
CANCELLED_AS_ASKED = re.compile(r"^$|cancelled successfully|was cancelled\.?$|terminated by the runner", re.IGNORECASE)


def explain_failure(run: Run) -> str:
    message = run.state_message.strip()
    if not message:
        return f"It ended as {run.state_label}, and Prefect gave no reason. The last lines of the log may."
    if found := EXIT.search(message):
        status = int(found.group(1))
        return f"Its process ended with status {status}: {EXITS.get(status, 'the log may say why')}."
    for pattern, sentence in FAILURES:
        if found := pattern.search(message):
            return shorten(sentence.replace("{0}", found.group(1) if found.groups() else ""))
    return shorten(message)


def explain_cancellation(run: Run) -> str:
    message = run.state_message.strip()
    return "" if CANCELLED_AS_ASKED.search(message) else shorten(f"Prefect says: {message}")


def shorten(text: str) -> str:
    """On one line, cut at a word, ending in a full stop."""
    line = " ".join(text.split())
    if len(line) > LONGEST:
        line = line[:LONGEST].rsplit(" ", 1)[0] + " …"
    return line if line.endswith((".", "…", "!", "?", ")")) else f"{line}."
