"""Base class of commands that act on one request."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs.actors import Actor
from runs.management.cli.command import DONE, PortalCommand, require_actor
from runs.models import ChangeRequest, RunRequest


class RequestCommand(PortalCommand):
    """A command that acts on one request by its number and prints the request afterwards."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("request", type=int, help="request number")
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        run_request = self.act(options, require_actor(options.person))
        self.print_row(describe(run_request), outcome_line(run_request), as_json=options.json)
        return DONE

    def act(self, options: Namespace, by: Actor) -> RunRequest | ChangeRequest:
        """Call the service and return the request as it is now."""
        raise NotImplementedError


def describe(run_request: RunRequest | ChangeRequest) -> dict[str, Any]:
    """Return the request for `--json`."""
    if isinstance(run_request, ChangeRequest):
        return describe_rules(run_request)
    return {
        "request": run_request.pk,
        "state": run_request.state,
        "message": run_request.message,
        "environment": run_request.change.environment_name,
        "deployment": run_request.spec.deployment_name,
        "flow_run_id": run_request.flow_run_id,
        "run": run_request.run.name if run_request.run else None,
        "run_state": run_request.run.state_label if run_request.run else None,
        "prefect_url": run_request.run.prefect_url if run_request.run else None,
    }


def describe_rules(change: ChangeRequest) -> dict[str, Any]:
    """Return a change of rules for `--json`."""
    return {
        "change_request": change.pk,
        "state": change.state,
        "message": change.message,
        "environment": change.environment_name,
        "what": change.rule_change.what,
        "digest": change.digest,
    }


def waiting_line(change: ChangeRequest) -> str:
    """Return that a change of rules waits, and how it is approved."""
    return (
        f"Change request {change.pk} waits, because it loosens the rules of {change.environment_name}. Another "
        f"administrator must approve it: manage.py approve {change.pk} --as USER."
    )


def outcome_line(run_request: RunRequest | ChangeRequest) -> str:
    """Return state, message and run of a request in one line."""
    if isinstance(run_request, ChangeRequest):
        message = f" {run_request.message}" if run_request.message else ""
        return f"{run_request}: {run_request.state_label}.{message}"
    run = (
        f" Run {run_request.run.name}: {run_request.run.state_label}, {run_request.run.prefect_url}"
        if run_request.run
        else ""
    )
    message = f" {run_request.message}" if run_request.message else ""
    return f"{run_request}: {run_request.get_state_display()}.{message}{run}"
