"""The commands of schedules: list, add, renew, pause, resume and end them, and the next times of a rule."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime
from typing import Any
from uuid import uuid4

from .client_errors import Unreachable
from .command_parser import (
    DONE,
    CommandParser,
    Subparsers,
    add_command,
    add_confirmation,
    add_deployment,
    add_environment,
    add_limit,
    add_parameters,
    add_reason,
    moment,
    parameters,
)
from .portal_api import Portal
from .profile_commands import add_profile
from .schedule_answers import Schedule, ScheduleDetail
from .terminal import Screen

CATCH_UP = ("none", "last", "all")


def add_schedules(commands: Subparsers) -> None:
    parser = add_command(commands, "schedules", schedules, "List the schedules of the portal")
    add_environment(parser)
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="full name of the deployment")
    parser.add_argument("--state", action="append", default=[], help="waiting, active, paused or ended, repeatable")
    add_limit(parser, 50)

    parser = add_command(commands, "schedule", show, "Show a schedule with its next starts")
    add_number(parser)

    parser = add_command(commands, "add-schedule", add, "Request a schedule of a deployment")
    add_deployment(parser)
    parser.add_argument("--name", dest="title", required=True, metavar="TEXT", help="name of the schedule")
    add_rule(parser)
    parser.add_argument("--until", type=moment, required=True, metavar="TIME", help="its end: 2027-06-30T00:00+02:00")
    parser.add_argument("--catch-up", choices=CATCH_UP, default="none", help="what of missed starts is started (none)")
    parser.add_argument("--native", action="store_true", help="have Prefect keep it, where the rules allow that")
    add_parameters(parser)
    parser.add_argument("--tag", action="append", default=[], help="can be repeated")
    add_profile(parser)
    parser.add_argument("--on-behalf-of", default="", metavar="USER", help="the person you act for")
    add_reason(parser)
    add_confirmation(parser, "full name of the deployment, for runs that delete data")
    add_key(parser)

    parser = add_command(
        commands, "renew-schedule", renew, "Request a schedule again with another end, or take it over"
    )
    add_number(parser)
    parser.add_argument("--until", type=moment, required=True, metavar="TIME", help="its new end")
    add_reason(parser)
    add_confirmation(parser, "full name of the deployment, for runs that delete data")
    add_key(parser)

    for name, function, help_text in (
        ("pause-schedule", pause, "Start no more runs of a schedule until it is resumed"),
        ("resume-schedule", resume, "Start runs of a paused schedule again"),
        ("end-schedule", end, "End a schedule for good"),
        ("put-back-schedule", put_back, "Save Prefect's copy of a schedule again as it was approved"),
    ):
        parser = add_command(commands, name, function, help_text)
        add_number(parser)
        add_reason(parser)

    parser = add_command(commands, "next-times", next_times, "Print the next times of a rule; nothing is requested")
    add_rule(parser)


def add_number(parser: CommandParser) -> None:
    parser.add_argument("number", type=int, metavar="SCHEDULE", help="its number")


def add_key(parser: CommandParser) -> None:
    parser.add_argument("--key", default="", help="idempotency key: sent again with it, it is the same request")


def add_rule(parser: CommandParser) -> None:
    rules = parser.add_mutually_exclusive_group(required=True)
    rules.add_argument("--cron", metavar="TEXT", help='five fields: "0 6 * * 1-5"')
    rules.add_argument("--every", metavar="TEXT", help="an interval: 15m, 6h, 7d")
    rules.add_argument("--rrule", metavar="TEXT", help="a recurrence rule: FREQ=MONTHLY;BYDAY=1MO;BYHOUR=6")
    parser.add_argument("--time-zone", default="UTC", metavar="ZONE", help="such as Europe/Vienna (UTC)")
    parser.add_argument("--from", dest="anchor", type=moment, metavar="TIME", help="where an interval starts to count")


def rule_of(options: Namespace) -> dict[str, Any]:
    rule_type, rule = next(
        (kind, text)
        for kind, text in (("cron", options.cron), ("interval", options.every), ("rrule", options.rrule))
        if text is not None
    )
    return {"rule_type": rule_type, "rule": rule, "time_zone": options.time_zone, "anchor": options.anchor}


def schedules(portal: Portal, options: Namespace, screen: Screen) -> int:
    filters = {"deployment": options.deployment, "state": options.state}
    found = portal.schedules(options.environment, **filters)
    rows = [each for each, _ in zip(found, range(options.limit), strict=False)]
    screen.print_rows(Schedule, rows, empty="There are no such schedules that you can see.")
    return DONE


def show(portal: Portal, options: Namespace, screen: Screen) -> int:
    row = portal.schedule(options.number)
    screen.print_row(row, describe(row), *map(spell, row.next_starts))
    return DONE


def add(portal: Portal, options: Namespace, screen: Screen) -> int:
    key = options.key or str(uuid4())
    try:
        row = portal.add_schedule(
            options.environment,
            options.name,
            parameters(options),
            name=options.title,
            valid_until=options.until,
            catch_up=options.catch_up,
            native=options.native,
            tags=options.tag,
            profile=options.profile,
            reason=options.reason,
            ticket=options.ticket,
            on_behalf_of=options.on_behalf_of,
            confirm=options.confirm,
            key=key,
            **rule_of(options),
        )
    except Unreachable:
        screen.warn(f"The request may have arrived. To send it once all the same, add --key {key} and repeat it.")
        raise
    screen.print_row(row, describe(row))
    return DONE


def renew(portal: Portal, options: Namespace, screen: Screen) -> int:
    row = portal.replace_schedule(
        options.number,
        valid_until=options.until,
        reason=options.reason,
        ticket=options.ticket,
        confirm=options.confirm,
        key=options.key,
    )
    screen.print_row(row, describe(row))
    return DONE


def pause(portal: Portal, options: Namespace, screen: Screen) -> int:
    return tell(portal.pause_schedule(options.number, options.reason, ticket=options.ticket), screen)


def resume(portal: Portal, options: Namespace, screen: Screen) -> int:
    return tell(portal.resume_schedule(options.number, options.reason, ticket=options.ticket), screen)


def end(portal: Portal, options: Namespace, screen: Screen) -> int:
    return tell(portal.end_schedule(options.number, options.reason, ticket=options.ticket), screen)


def put_back(portal: Portal, options: Namespace, screen: Screen) -> int:
    return tell(portal.put_back_schedule(options.number, options.reason, ticket=options.ticket), screen)


def next_times(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.next_times(**rule_of(options))
    screen.print_row(found, *map(spell, found.times))
    return DONE


def tell(row: ScheduleDetail, screen: Screen) -> int:
    screen.print_row(row, describe(row))
    return DONE


def describe(row: ScheduleDetail) -> str:
    """Return a schedule as a sentence."""
    due = f" Next start {spell(row.next_due)}." if row.next_due else ""
    waits = f" Approve change request {row.change}." if row.state == "waiting" else ""
    message = f" {row.message}" if row.message else ""
    if row.drift:
        message += f" Changed in Prefect: {', '.join(each['what'] for each in row.drift)}."
    return f"Schedule {row.id} ({row.name}) of {row.deployment} in {row.environment}: {row.state}.{due}{waits}{message}"


def spell(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="minutes")
