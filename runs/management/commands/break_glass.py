"""Lets a request go without its approvals."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = "In an emergency: let a request go without its approvals. Takes “break glass”; somebody else reviews it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="what the emergency is")
        parser.add_argument("--minutes", type=int, default=15, help="it is sent within that time or not at all (15)")
        super().add_arguments(parser)

    def act(self, asked: Namespace, by: Actor) -> RunRequest:
        return desk.break_glass(asked.request, by=by, reason=asked.reason, minutes=asked.minutes)
