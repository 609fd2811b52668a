"""The portal from Python: look, trigger, wait and cancel by name, with the permissions and the audit of a person.

    by = desk.person("otto")
    wish = desk.trigger("dev", "monthly/monthly", {"month": "2026-10"}, by=by, reason="Month end")
    wish = desk.wait(wish, seconds=600)

Everything is done by the same verbs that the pages call. `by=None`, where it is allowed, sees everything: whoever runs
Python here has the database anyway. All errors but `flows.records.PrefectError` and `flows.parameters.Invalid` are
`flows.access.Refused`, and all of them are sentences for the reader.
"""

from runs.desk.acting import StillGoing, cancel, sync, trigger, typed, wait
from runs.desk.governing import (
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
    reseal,
    review,
    unfreeze,
    withdraw,
)
from runs.desk.looking import (
    NotHere,
    chosen,
    deployment,
    deployments,
    environment,
    environments,
    health,
    person,
    run,
    runs,
    status,
    user,
)
from runs.desk.permitting import grant, revoke, who, why

__all__ = [
    "Hours",
    "NotHere",
    "StillGoing",
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
    "reject",
    "rerun",
    "reseal",
    "review",
    "revoke",
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
