"""Explain in one sentence why a run failed, crashed or was cancelled, from the message of its state."""

from __future__ import annotations

import re
from datetime import timedelta

from runs.models import Run

# Messages of a run can be a whole traceback: cut them to about two lines on a page.
LONGEST = 300

# Exit status -> what it means to the operator of the worker; any other status is shown as a number. 128 + n and -n are
# the same signal, as a shell and as Python report it.
EXITS: dict[int, str] = {
    1: "the code could not be loaded or a parameter was not accepted; check the last lines of the log",
    2: "the command is not valid; check the deployment's entrypoint and job settings",
    125: "the container could not start; check the image and the container runtime",
    126: "the command is not executable; check the file permissions in the image",
    127: "the command was not found; check what is installed where the worker runs",
    -9: "killed, most often because it ran out of memory",
    137: "killed, most often because it ran out of memory",
    247: "killed because it ran out of memory",
    -15: "terminated from outside; the worker or its machine was shut down",
    143: "terminated from outside; the worker or its machine was shut down",
    -11: "crashed in compiled code",
    139: "crashed in compiled code",
}

# Pattern of Prefect's state message -> sentence, with `{0}` for the first group. A message that none of them matches is
# shown as it is.
FAILURES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), sentence)
    for pattern, sentence in (
        (r"exceeded timeout of ([\d.]+?)(?:\.0)? second", "Timed out after {0} s."),
        (
            r"Validation of flow parameters failed with error:\s*(.*)",
            "Invalid parameters. {0}",
        ),
        (r"^Flow run encountered an exception:?\s*(.*)", "Failed: {0}"),
        (r"Task run encountered an exception:?\s*(.*)", "A task failed: {0}"),
        (r"^(\d+/\d+) states failed", "{0} tasks failed; see the task runs."),
        (r"^(\d+/\d+) states are not final", "{0} tasks did not finish."),
        (r"aborted by a termination signal", "Terminated from outside: the worker or its machine was shut down."),
        (r"aborted by an interrupt signal", "Interrupted from the keyboard."),
        (
            r"aborted by Python system exit",
            "Its process was ended, by its worker's stop or by sys.exit in its code.",
        ),
        (r"cancelled by the runtime environment", "Stopped by its infrastructure, not by the flow."),
        (r"Request (?:to \S+ )?failed", "Lost its connection to Prefect while running."),
        (r"interrupted by an unexpected exception:\s*(.*)", "Interrupted: {0}"),
        (r"Failed to submit flow run to infrastructure:\s*(.*)", "The worker could not start it: {0}"),
        (r"^(?:Submission failed\.|Flow run submission failed:)\s*(.*)", "The worker could not start it: {0}"),
        (r"^Flow run could not start:\s*(.*)", "Could not start: {0}"),
        (r"paused and never resumed", "Paused and not resumed in time."),
        (
            r"could not durably persist a Cancelled",
            "Cancelled, but the worker could not report it to Prefect.",
        ),
    )
)
DOUBLED = re.compile(r"^(\w+): (?=\1\b)")
EXIT = re.compile(r"exited with (?:a )?(?:non-zero )?status code:? (-?\d+)")
# Prefect forces CANCELLED when the cancellation is not confirmed for this long; the process may go on.
FORCED_AFTER = timedelta(minutes=5)
# Prefect's message of such a cancellation.
CANCEL_TIMED_OUT = re.compile(r"cancellation timed out", re.IGNORECASE)
# Messages of an ordinary cancellation: the state says the same.
CANCELLED_AS_ASKED = re.compile(r"^$|cancelled successfully|was cancelled\.?$|terminated by the runner", re.IGNORECASE)


def explain_failure(run: Run) -> str:
    """Return why a run failed or crashed, from the message of its state; never empty."""
    message = run.state_message.strip()
    if not message:
        return f"{run.state_label} without a message. Check the last lines of the log."
    # Before the patterns: the exit status is more exact than the text around it.
    if found := EXIT.search(message):
        status = int(found.group(1))
        return f"Process exited with status {status}: {EXITS.get(status, 'check the log')}."
    for pattern, sentence in FAILURES:
        if found := pattern.search(message):
            # Not str.format: the message may have braces.
            return shorten(sentence.replace("{0}", once(found.group(1)) if found.groups() else ""))
    return shorten(message)


def once(message: str) -> str:
    """Return a message without the name of its class where it begins with the same word: “Stopped: Stopped at 50 %”."""
    return DOUBLED.sub("", message)


def explain_cancellation(run: Run) -> str:
    """Return Prefect's message of a cancellation, unless it says only that the run was cancelled."""
    message = run.state_message.strip()
    if is_cancel_timeout(run):
        waited = FORCED_AFTER // timedelta(minutes=1)
        return (
            f"Cancelled by time-out: nothing confirmed it for {waited} minutes, so its process may still be running. "
            "Check it where its worker ran."
        )
    return "" if CANCELLED_AS_ASKED.search(message) else shorten(f"Prefect says: {message}")


def is_cancel_timeout(run: Run) -> bool:
    """Return whether Prefect says that it gave up waiting for the confirmation of a cancellation."""
    return run.state_type == "CANCELLED" and CANCEL_TIMED_OUT.search(run.state_message) is not None


def shorten(text: str) -> str:
    """Return the text on one line, cut at a word, with a full stop."""
    line = " ".join(text.split())
    if len(line) > LONGEST:
        line = line[:LONGEST].rsplit(" ", 1)[0] + " …"
    return line if line.endswith((".", "…", "!", "?", ")")) else f"{line}."
