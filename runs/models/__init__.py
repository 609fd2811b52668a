"""The nouns of runs, one a file."""

from runs.models.audit import AuditEntry
from runs.models.cancellation import Cancellation
from runs.models.request import Approval, RunRequest
from runs.models.run import LogLine, Run, StateChange, TaskRun
from runs.models.switch import Switch

__all__ = [
    "Approval",
    "AuditEntry",
    "Cancellation",
    "LogLine",
    "Run",
    "RunRequest",
    "StateChange",
    "Switch",
    "TaskRun",
]
