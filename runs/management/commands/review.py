"""Reviews broken glass."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = "Say afterwards whether breaking the glass for a request was right."

    def add_arguments(self, parser: CommandParser) -> None:
        verdict = parser.add_mutually_exclusive_group(required=True)
        verdict.add_argument("--right", dest="was_right", action="store_true", help="it was right")
        verdict.add_argument("--wrong", dest="was_right", action="store_false", help="it was not")
        parser.add_argument("--text", default="", help="what the review found")
        super().add_arguments(parser)

    def act(self, asked: Namespace, by: Actor) -> RunRequest:
        return desk.review(asked.request, by=by, was_right=asked.was_right, text=asked.text)
