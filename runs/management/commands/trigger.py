"""Asks for a run."""

from __future__ import annotations

import json
import sys
import uuid
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from flows.access import Refused
from flows.records import JSON
from runs import desk
from runs.management.speaking import DONE, RUN_FAILED, SpeakingCommand, doer
from runs.models import RunRequest
from runs.models.request import State


class Command(SpeakingCommand):
    help = "Ask for a run of a deployment, under the same rules and with the same audit as in the portal."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("deployment", help="an alias, flow/deployment, or a name that only one has")
        parser.add_argument("-p", dest="pairs", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
        parser.add_argument(
            "--parameters-file", default="", metavar="FILE|-", help="parameters as a JSON object; secrets belong here"
        )
        parser.add_argument("--reason", default="", help="why; protected environments want one")
        parser.add_argument("--tag", action="append", default=[], help="may be repeated")
        parser.add_argument("--name", default="", help="the name of the run")
        parser.add_argument("--at", default="", metavar="TIME", help="when, such as 2026-11-30T06:00; now without it")
        parser.add_argument("--key", type=uuid.UUID, help="a UUID: the same one again gives the same request")
        parser.add_argument("--wait", action="store_true", help="until the run is over; its end makes the exit code")
        parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="how long to wait (3600)")
        super().add_arguments(parser)

    def speak(self, asked: Namespace) -> int:
        by = doer(asked.person)
        found = desk.deployment(asked.environment, asked.deployment, by=by)
        wish = desk.trigger(
            asked.environment,
            found.full_name,
            desk.typed(found, pairs_of(asked.pairs), values_in(asked.parameters_file)),
            by=by,
            reason=asked.reason,
            tags=asked.tag,
            run_name=asked.name,
            scheduled_for=moment(asked.at),
            key=asked.key,
        )
        if asked.wait:
            wish = desk.wait(wish, seconds=asked.timeout)
        wish = desk.status(wish)
        self.tell_one(described(wish), said(wish), as_json=asked.json)
        if not asked.wait or wish.state == State.COMPLETED:
            return DONE
        if wish.flow_run_id is None:
            raise Refused(f"No run was started. {wish.message}")
        return RUN_FAILED


def pairs_of(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise Refused(f"-p wants NAME=VALUE, not {text}.")
        pairs[name] = value
    return pairs


def values_in(path: str) -> dict[str, JSON]:
    """The object in a JSON file; `-` is the standard input."""
    if not path:
        return {}
    try:
        values = json.loads(sys.stdin.read() if path == "-" else Path(path).read_text())
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise Refused(f"{path} is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise Refused(f"{path} must hold one JSON object: names and values.")
    return values


def moment(text: str) -> datetime | None:
    """An ISO time; without an offset it is in the portal's time zone."""
    if not text:
        return None
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise Refused(f"--at wants a time such as 2026-11-30T06:00, not {text}.")
    return found if timezone.is_aware(found) else timezone.make_aware(found)


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
