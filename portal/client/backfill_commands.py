"""Commands of backfills: plan and request one, pause, resume and cancel the rest of it."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from uuid import uuid4

from .answers import BackfillItem, BackfillPlan
from .client_errors import Unreachable
from .command_parser import (
    DONE,
    REFUSED,
    Subparsers,
    add_command,
    add_confirmation,
    add_deployment,
    add_parameters,
    add_reason,
    add_wait,
    parameters,
    positive,
)
from .portal_api import Portal
from .profile_commands import add_profile
from .request_commands import finish, show
from .terminal import Screen

AT_ONCE = 5


def add_backfills(commands: Subparsers) -> None:
    parser = add_command(commands, "backfill", backfill, "Plan runs over a range of values, and request them")
    add_deployment(parser)
    parser.add_argument(
        "--range",
        dest="ranges",
        action="append",
        required=True,
        type=named_range,
        metavar="NAME=RANGE",
        help="values of a parameter, for one or two of them: months (month=2026-01..2026-06), dates with a step "
        "(day=2026-01-01..2026-03-31/7), whole numbers (shard=1..50), or values with commas between them",
    )
    add_parameters(parser)
    parser.add_argument(
        "--at-once", type=positive, default=AT_ONCE, metavar="N", help=f"runs that are open at a time ({AT_ONCE})"
    )
    parser.add_argument("--go-on", action="store_true", help="do not stop when a run did not complete")
    parser.add_argument("--run-completed", action="store_true", help="also items whose last run completed")
    parser.add_argument("--run-open", action="store_true", help="also items with an open run or request")
    parser.add_argument("--leave-out-refused", action="store_true", help="request the others if some are refused")
    parser.add_argument("--yes", action="store_true", help="request the runs; without it the plan is only shown")
    parser.add_argument("--tag", action="append", default=[], help="can be repeated")
    add_profile(parser)
    parser.add_argument("--on-behalf-of", default="", metavar="USER", help="the person you act for")
    parser.add_argument("--override-window", action="store_true", help="start despite change windows and freezes")
    add_reason(parser)
    add_confirmation(parser, "full name of the deployment, for runs that delete data")
    parser.add_argument("--key", default="", help="idempotency key: sent again with it, it is the same request")
    add_wait(parser, "all its runs have ended")

    for name, function, help_text in (
        ("pause-backfill", pause_backfill, "Start no more runs of a backfill"),
        ("resume-backfill", resume_backfill, "Let a backfill go on that was paused, or stopped at a failure"),
        ("cancel-rest", cancel_rest, "Withdraw the runs of a backfill that were not sent to Prefect"),
    ):
        parser = add_command(commands, name, function, help_text)
        parser.add_argument("number", type=int, metavar="CHANGE", help="number of its change request")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why")


def named_range(text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not name or not equals:
        raise ArgumentTypeError(f"{text} is not NAME=RANGE")
    return name, values


def backfill(portal: Portal, options: Namespace, screen: Screen) -> int:
    vary, fixed = dict(options.ranges), parameters(options)
    skips = {"skip_completed": not options.run_completed, "skip_open": not options.run_open}
    # 1. The plan, which is all without --yes. With a key that was used before it would be about the runs there are.
    digest = ""
    if not (options.yes and options.key):
        plan = portal.plan_backfill(options.environment, options.name, vary, fixed, profile=options.profile, **skips)
        digest = plan.digest
        if not options.yes:
            screen.print_row(plan, *sentences(plan))
            if plan.to_run:
                screen.say("Nothing was requested. Add --yes to request these runs.")
            return DONE if plan.to_run and not plan.refused else REFUSED
        for sentence in sentences(plan):
            screen.say(sentence)
    # 2. Exactly what was shown: refused if the plan has changed since.
    key = options.key or str(uuid4())
    try:
        change = portal.backfill(
            options.environment,
            options.name,
            vary,
            fixed,
            **skips,
            at_once=options.at_once,
            on_failure="go_on" if options.go_on else "stop",
            leave_out_refused=options.leave_out_refused,
            plan=digest,
            reason=options.reason,
            ticket=options.ticket,
            tags=options.tag,
            profile=options.profile,
            on_behalf_of=options.on_behalf_of,
            override_window=options.override_window,
            confirm=options.confirm,
            key=key,
        )
    except Unreachable:
        screen.warn(f"The request may have arrived. To send it once all the same, add --key {key} and repeat it.")
        raise
    return finish(portal, change, options, screen)


def sentences(plan: BackfillPlan) -> list[str]:
    """Return the items of a plan, one a line, and what they add up to."""
    lines = [describe_item(item) for item in plan.items]
    total = f"{len(plan.items)} items: {plan.to_run} to run, {plan.skipped} skipped, {plan.refused} refused."
    if not plan.checks_earlier:
        total += " You cannot view parameters here, so nothing was looked up and nothing is skipped."
    return [*lines, total, *([f"Each with the resource profile {plan.profile.name}."] if plan.profile else [])]


def describe_item(item: BackfillItem) -> str:
    values = ", ".join(f"{name}={value}" for name, value in item.values.items())
    earlier = f"last: {item.earlier.state}" if item.earlier and not item.why else ""
    return f"{item.position + 1:>4}  {item.outcome:<6}  {values}  {item.why or earlier}".rstrip()


def pause_backfill(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.pause_backfill(options.number, options.reason), screen)


def resume_backfill(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.resume_backfill(options.number, options.reason), screen)


def cancel_rest(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.cancel_rest(options.number, options.reason), screen)
