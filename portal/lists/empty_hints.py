"""What a list without rows says of itself: what it holds, and the next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EmptyHint:
    """`step` is the label of a link and the name of its address, ("", "") without one."""

    sentence: str
    step: tuple[str, str] = ("", "")


DEPLOYMENTS = ("Show deployments", "admin:flows_deployment_changelist")
# Model -> hint. Lists with a sentence of their own above them, and those that are never empty, have none.
HINTS: Mapping[str, EmptyHint] = {
    "runs.run": EmptyHint(
        "Runs appear here automatically, wherever they are started. Open a deployment to start one.", DEPLOYMENTS
    ),
    "runs.runrequest": EmptyHint(
        "Open a deployment to request a run. Its approvals, launch and result are shown here.", DEPLOYMENTS
    ),
    "runs.reportedrun": EmptyHint("Each run appears here with its requester, its parameters and its approvers."),
    "runs.changerequest": EmptyHint(
        "What is approved as a whole appears here: backfills, schedules, chains, retries and changes of rules."
    ),
    "runs.failuregroup": EmptyHint("Failed runs with the same cause appear here as one failure, with an owner."),
    "runs.artifact": EmptyHint("Tables, texts and progress that flows publish with their runs appear here."),
    "runs.rulefiring": EmptyHint("What events did with event rules appears here."),
    "runs.grant": EmptyHint("A grant says who can do what with which deployments."),
    "runs.policy": EmptyHint("A policy says what runs need before they start: approvals, a reason, a ticket."),
    "runs.window": EmptyHint("A change window says when runs may start, or when they are held."),
    "runs.resourceprofile": EmptyHint(
        "A resource profile names settings of the infrastructure, such as memory, for runs."
    ),
    "runs.notificationrule": EmptyHint("A notification rule says who receives messages about what."),
    "flows.alias": EmptyHint(
        "An alias is a name for a deployment that stays the same when it is deployed again. The API and the commands "
        "accept it."
    ),
    "flows.workpool": EmptyHint("Work pools are synced from Prefect. Runs wait in them for a worker."),
    "flows.globallimit": EmptyHint("Concurrency limits are synced from Prefect. They say how much runs at a time."),
}
