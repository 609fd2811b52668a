"""The portal from Python: read, trigger, wait and cancel by name, with a person's permissions and audit entries.

    by = desk.person("otto")
    request = desk.trigger("dev", "monthly/monthly", {"month": "2026-10"}, by=by, reason="Month end")
    request = desk.wait(request, seconds=600)

The pages call the same services. `by=None`, where it is allowed, sees everything: code that runs here can read the
database anyway. All errors are `runs.errors.Refused`, `flows.prefect_api.records.PrefectError` or
`flows.parameters.Invalid`, and each message is a sentence for the reader.
"""

from runs.desk.access import grant, revoke, who, why
from runs.desk.governance import (
    Hours,
    approve,
    break_glass,
    calendar,
    comment,
    freeze,
    inbox,
    override,
    reject,
    rerun,
    review,
    rotate_keys,
    unfreeze,
    withdraw,
)
from runs.desk.queries import health, run, runs, status
from runs.desk.run_actions import StillRunning, cancel, recover, sync, trigger, typed, wait
from runs.names import NotVisible, chosen, deployment, deployments, environment, environments, user
from runs.operators import person

__all__ = [
    "Hours",
    "NotVisible",
    "StillRunning",
    "approve",
    "break_glass",
    "calendar",
    "cancel",
    "chosen",
    "comment",
    "deployment",
    "deployments",
    "environment",
    "environments",
    "freeze",
    "grant",
    "health",
    "inbox",
    "override",
    "person",
    "recover",
    "reject",
    "rerun",
    "review",
    "revoke",
    "rotate_keys",
    "run",
    "runs",
    "status",
    "sync",
    "trigger",
    "typed",
    "unfreeze",
    "user",
    "wait",
    "who",
    "why",
    "withdraw",
]
