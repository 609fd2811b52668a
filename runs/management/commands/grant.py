"""Gives a permission or a prohibition."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from flows import predicates
from flows.access import Refused
from flows.models import Grant, Verb
from runs import desk, granting
from runs.management.speaking import DONE, SpeakingCommand, doer

GROUP = "group:"


class Command(SpeakingCommand):
    help = "Give a grant, as an administrator, or as somebody who holds “manage” and hands on what they hold."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", help=f"a user of the portal, or {GROUP}NAME")
        parser.add_argument("verbs", nargs="+", metavar="VERB", help=f"{', '.join(Verb.values)}; see-logs will do too")
        parser.add_argument("--deny", action="store_true", help="prohibit instead; a prohibition wins")
        parser.add_argument("--env", default="", help="only this environment; a protected one must be named")
        parser.add_argument("--flow", default="", help="only deployments of this flow")
        parser.add_argument("--deployment", default="", metavar="FLOW/NAME", help="only this deployment")
        parser.add_argument("--tag", default="", help="only deployments with this tag")
        parser.add_argument("--when", default="", metavar="JSON", help="only for parameters that fit this JSON Schema")
        parser.add_argument(
            "--from", dest="since", default="", metavar="TIME", help="such as 2026-12-01 or with T08:00"
        )
        parser.add_argument("--until", default="", metavar="TIME")
        parser.add_argument("--reason", default="", help="why")
        parser.add_argument("--ticket", default="")
        super().add_arguments(parser)

    def speak(self, asked: Namespace) -> int:
        by = doer(asked.person)
        row = granting.grant(
            by=by,
            **subject_of(asked.subject),
            verbs=[verb.replace("-", " ") for verb in asked.verbs],
            effect=Grant.Effect.DENY if asked.deny else Grant.Effect.ALLOW,
            environment=desk.environment(asked.env, by=None if by.user.is_superuser else by) if asked.env else None,
            flow_name=asked.flow,
            full_name=asked.deployment,
            tag=asked.tag,
            predicate=predicate_of(asked.when),
            valid_from=moment("--from", asked.since),
            valid_until=moment("--until", asked.until),
            reason=asked.reason,
            ticket=asked.ticket,
        )
        self.tell_one({"grant": row.pk, **granting.described(row)}, f"Grant {row.pk}: {told(row)}.", as_json=asked.json)
        return DONE


def told(row: Grant) -> str:
    return f"{row} when {predicates.words(row.predicate)}" if row.predicate else str(row)


def subject_of(text: str) -> dict[str, Any]:
    """The person or the group that is named."""
    if text.startswith(GROUP):
        name = text.removeprefix(GROUP)
        group = Group.objects.filter(name=name).first()
        if group is None:
            there = desk.listing("There is", list(Group.objects.order_by("name").values_list("name", flat=True)))
            raise desk.NotHere(f"There is no group {name}. {there}")
        return {"group": group}
    user = User.objects.filter(username=text, is_active=True).first()
    if user is None:
        raise desk.NotHere(f"The portal has no active user {text}. A group is named {GROUP}NAME.")
    return {"person": user}


def predicate_of(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"--when wants JSON: {error}.") from error
    if not isinstance(found, dict):
        raise Refused('--when wants a JSON Schema, such as {"properties": {"region": {"const": "EU"}}}.')
    return found


def moment(option: str, text: str) -> datetime | None:
    """A day or an ISO time; without an offset it is in the portal's time zone."""
    if not text:
        return None
    try:
        day = parse_date(text)
        found = datetime.combine(day, datetime.min.time()) if day else parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise Refused(f"{option} wants a time such as 2026-11-30 or 2026-11-30T06:00, not {text}.")
    return found if timezone.is_aware(found) else timezone.make_aware(found)
