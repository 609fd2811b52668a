"""Lists the requests that wait for an answer."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from runs import desk
from runs.management.cli.command import DONE, PortalCommand, require_actor
from runs.models import RunRequest


class Command(PortalCommand):
    help = "List the requests that wait for your answer, the most urgent first."

    def run(self, asked: Namespace) -> int:
        rows = [described(run_request) for run_request in desk.inbox(by=require_actor(asked.person))]
        if not asked.json:
            rows = [{name: value for name, value in row.items() if name != "digest"} for row in rows]
        self.tell(rows, as_json=asked.json, nothing="Nothing waits for your answer.")
        return DONE


def described(run_request: RunRequest) -> dict[str, Any]:
    return {
        "request": run_request.pk,
        "environment": run_request.environment_name,
        "deployment": run_request.deployment_name,
        "requested_by": run_request.requested_by_name,
        "reason": run_request.reason,
        "ticket": run_request.ticket,
        "risk": run_request.policy.get("risk", ""),
        "expires": run_request.expires_at,
        "digest": run_request.digest,
    }
