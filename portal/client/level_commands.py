"""The command of service levels: list them and their breaches, add and remove them."""

from __future__ import annotations

from argparse import Namespace
from itertools import islice

from .command_parser import DONE, CommandParser, Subparsers, add_command, add_environment, add_limit, positive
from .level_answers import Breach, ServiceLevel
from .portal_api import PAGE, Portal
from .terminal import Screen

KINDS = ("late", "long", "unusual", "silent", "failing")


def add_levels(commands: Subparsers) -> None:
    help_text = "Set what is expected of deployments, and list where it does not hold"
    acts: Subparsers = commands.add_parser("levels", help=help_text, description=f"{help_text}.").add_subparsers(
        dest="act", metavar="ACT", required=True, parser_class=CommandParser
    )
    parser = add_command(acts, "list", list_levels, "List service levels, newest first")
    add_environment(parser)
    add_limit(parser)

    parser = add_command(acts, "breaches", breaches, "List breaches, newest first")
    add_environment(parser)
    parser.add_argument("--all", action="store_true", help="also those that were cleared")
    add_limit(parser)

    parser = add_command(acts, "add", add, "Create a service level")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument(
        "threshold", type=float, help="late, long: minutes; unusual: times the p95; silent: hours; failing: percent"
    )
    add_environment(parser, is_required=True)
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="full name; without, all deployments")
    parser.add_argument("--tag", default="", help="only deployments with this tag")
    parser.add_argument("--days", type=positive, default=0, metavar="N", help="of failing: of the runs of so many days")
    parser.add_argument("--owner", default="", metavar="USER", help="who looks after it")
    parser.add_argument("--runbook", default="", metavar="URL", help="address of what to do")

    parser = add_command(acts, "remove", remove, "Remove a service level, and clear its breaches")
    parser.add_argument("number", type=int, metavar="LEVEL", help="its number")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why")


def list_levels(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.service_levels(options.environment, active=True, limit=min(options.limit, PAGE))
    rows = list(islice(found, options.limit))
    screen.print_rows(ServiceLevel, rows, empty="There are no service levels that you can see.")
    return DONE


def breaches(portal: Portal, options: Namespace, screen: Screen) -> int:
    only_open = {} if options.all else {"open": True}
    found = portal.breaches(options.environment, **only_open, limit=min(options.limit, PAGE))
    screen.print_rows(Breach, list(islice(found, options.limit)), empty="There are no such breaches.")
    return DONE


def add(portal: Portal, options: Namespace, screen: Screen) -> int:
    made = portal.add_service_level(
        options.environment,
        options.kind,
        options.threshold,
        days=options.days,
        deployment=options.deployment,
        tag=options.tag,
        owner=options.owner,
        runbook=options.runbook,
    )
    screen.print_row(made, f"Service level {made.id}: {made.sentence}.")
    return DONE


def remove(portal: Portal, options: Namespace, screen: Screen) -> int:
    removed = portal.remove_service_level(options.number, options.reason)
    screen.print_row(removed, f"Removed service level {removed.id}: {removed.sentence}.")
    return DONE
