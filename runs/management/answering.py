"""What the commands about one request share."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs.actors import Actor
from runs.management.speaking import DONE, SpeakingCommand, doer
from runs.models import RunRequest


class RequestCommand(SpeakingCommand):
    """One act on one request, by its number, then how the request is."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("request", type=int, help="the number of the request")
        super().add_arguments(parser)

    def speak(self, asked: Namespace) -> int:
        wish = self.act(asked, doer(asked.person))
        self.tell_one(described(wish), said(wish), as_json=asked.json)
        return DONE

    def act(self, asked: Namespace, by: Actor) -> RunRequest:
        raise NotImplementedError


def described(wish: RunRequest) -> dict[str, Any]:
    return {
        "request": wish.pk,
        "state": wish.state,
        "message": wish.message,
        "environment": wish.environment_name,
        "deployment": wish.deployment_name,
        "flow_run_id": wish.flow_run_id,
        "run": wish.run.name if wish.run else None,
        "run_state": wish.run.state_label if wish.run else None,
        "prefect_url": wish.run.prefect_url if wish.run else None,
    }


def said(wish: RunRequest) -> str:
    run = f" Run {wish.run.name}: {wish.run.state_label}, {wish.run.prefect_url}" if wish.run else ""
    message = f" {wish.message}" if wish.message else ""
    return f"{wish}: {wish.get_state_display()}.{message}{run}"
