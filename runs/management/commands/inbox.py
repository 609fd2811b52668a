"""List the requests that need approval."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from flows import definition
from runs import desk
from runs.changes.queries import last_approved
from runs.management.cli.command import DONE, PortalCommand, require_actor
from runs.models import RunRequest


class Command(PortalCommand):
    help = "List the requests that need your approval, those that expire first on top."

    def run(self, options: Namespace) -> int:
        rows = [describe(run_request) for run_request in desk.inbox(by=require_actor(options.person))]
        # A digest is as wide as a terminal, and only scripts pass it on.
        if not options.json:
            rows = [{name: value for name, value in row.items() if name != "digest"} for row in rows]
        self.print_rows(rows, as_json=options.json, empty="No requests need your approval.")
        return DONE


def describe(run_request: RunRequest) -> dict[str, Any]:
    last = last_approved(run_request)
    changed = (
        definition.changed_fields(last.spec.definition, run_request.spec.definition) if last else ["first approval"]
    )
    return {
        "request": run_request.pk,
        "environment": run_request.change.environment_name,
        "deployment": run_request.spec.deployment_name,
        "requested_by": run_request.change.requester,
        "reason": run_request.change.reason,
        "ticket": run_request.change.ticket,
        "risk": run_request.change.policy.get("risk", ""),
        "changed": ", ".join(changed),
        "not_pinned": ", ".join(map(definition.moving_label, run_request.spec.definition.get("moving", []))),
        "expires": run_request.change.expires_at,
        "digest": run_request.change.digest,
    }
