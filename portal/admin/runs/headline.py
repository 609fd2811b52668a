"""The top of the page of a run: how long it takes beside how long it usually does, and why it failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString

from flows.plain_text import prose
from portal.admin.runs import task_table
from portal.ui import times
from runs import failure_causes
from runs.models import Run
from runs.run_history import FAILED, MOST_FAILURES, History


@dataclass(frozen=True, slots=True)
class Compared:
    """How long a run of the deployment takes; `is_overrun` of one that runs longer than almost all before it."""

    usually: str
    p95: str
    title: str
    is_overrun: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """What is known about a failure besides the message of its state; addresses are of this page and of the list."""

    task: str = ""
    task_link: str = ""
    task_note: str = ""
    error: str = ""
    error_link: str = ""
    failures: str = ""
    failures_url: str = ""


def took(run: Run) -> SafeString | str:
    """Return how long a run took, or has taken so far."""
    if run.started_at is None:
        return ""
    return times.duration(run.run_seconds) if run.is_over else times.running_for(run.started_at)


def compared(run: Run, history: History, now: datetime) -> Compared | None:
    usual = history.usual
    if usual is None:
        return None
    seconds = 0.0 if run.started_at is None or run.is_over else (now - run.started_at).total_seconds()
    return Compared(
        times.duration(usual.p50),
        times.duration(usual.p95),
        f"Half of the last {usual.number} completed runs took less than {times.duration(usual.p50)}, "
        f"95% of them less than {times.duration(usual.p95)}.",
        is_overrun=seconds > usual.p95,
    )


def reason(run: Run, history: History, sentence: str) -> Reason | None:
    """Return what the top of the page of a failed run says, None of any other run.

    The log links to what the reader can view: without the permission the history has neither line nor message.
    """
    if run.state_type not in FAILED:
        return None
    task, error = history.task, history.error
    words = last_words(error.message) if error else ""
    note = task_table.explain(task.message) if task else ""
    return Reason(
        task=(prose(task.name).strip() or str(task.prefect_id)) if task else "",
        task_link=f"?task={task.prefect_id}#log" if task else "",
        # What the sentence says already is not repeated.
        task_note=note if note and not says(sentence, note) else "",
        error=words if error and not says(sentence, words) and not says(note, words) else "",
        error_link=f"?line={error.pk}#line-{error.pk}" if error else "",
        failures=failures(history),
        failures_url=failures_url(run, history) if history.failures else "",
    )


def last_words(message: str) -> str:
    """Return the last line of a message: of a traceback the one that says what happened."""
    lines = [line for line in message.splitlines() if line.strip()]
    return failure_causes.shorten(lines[-1]) if lines else ""


def says(text: str, words: str) -> bool:
    return words.rstrip(".… ").casefold() in text.casefold()


def failures(history: History) -> str:
    if history.has_more_failures:
        return f"More than {MOST_FAILURES:,} failed this week"
    return f"{history.failures:,} failed this week" if history.failures else ""


def failures_url(run: Run, history: History) -> str:
    """Return the address of the list of the runs that are counted."""
    wanted = [
        ("environment", run.environment.slug),
        ("deployment", run.deployment.full_name if run.deployment else ""),
        *(("state", each) for each in FAILED),
        ("sort_at_from", history.failures_since.isoformat()),
    ]
    return f"{reverse('admin:runs_run_changelist')}?{urlencode(wanted)}"
