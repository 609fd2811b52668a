"""Review an emergency override."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = "Review an emergency override."

    def add_arguments(self, parser: CommandParser) -> None:
        verdict = parser.add_mutually_exclusive_group(required=True)
        verdict.add_argument("--right", dest="was_right", action="store_true", help="it was justified")
        verdict.add_argument("--wrong", dest="was_right", action="store_false", help="it was not justified")
        parser.add_argument("--text", default="", help="what the review found (required)")
        super().add_arguments(parser)

    def act(self, options: Namespace, by: Actor) -> RunRequest:
        return desk.review(options.request, by=by, was_right=options.was_right, text=options.text)
