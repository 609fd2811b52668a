"""The command of environment drift: list it, or compare one deployment with the other environments."""

from __future__ import annotations

from argparse import Namespace
from itertools import islice

from .command_parser import DONE, REFUSED, Subparsers, add_command, add_environment, add_limit
from .drift_answers import Drift, DriftLine, lines_of
from .portal_api import PAGE, Portal
from .terminal import Screen

KINDS = (
    *("version", "code", "schema", "defaults", "job variables"),
    *("work pool", "schedules", "portal schedules", "limits", "tags"),
)


def add_drift(commands: Subparsers) -> None:
    parser = add_command(commands, "drift", drift, "List what differs between environments, the newest first")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="compare this deployment; needs -e")
    add_environment(parser)
    parser.add_argument("--between", default="", metavar="ENV,ENV", help="only between these two environments")
    parser.add_argument("--kind", action="append", default=[], choices=KINDS, help="only this; can be repeated")
    add_limit(parser)


def drift(portal: Portal, options: Namespace, screen: Screen) -> int:
    if options.name:
        return compare(portal, options, screen)
    found = portal.drift(
        options.environment, between=options.between, kind=options.kind, limit=min(options.limit, PAGE)
    )
    empty = "Nothing that you can see differs between environments."
    screen.print_rows(Drift, list(islice(found, options.limit)), empty=empty)
    return DONE


def compare(portal: Portal, options: Namespace, screen: Screen) -> int:
    if not options.environment:
        screen.warn("Name the environment of the deployment: -e ENV.")
        return REFUSED
    matrix = portal.compare_environments(options.environment, options.name)
    if screen.as_json:
        screen.print_json(matrix)
    elif not matrix.others:
        screen.say("There is no other environment in which you see this deployment.")
    else:
        places = ", ".join(each.environment for each in matrix.others)
        empty = f"{matrix.deployment.deployment} is the same in {matrix.deployment.environment} and in {places}."
        screen.print_rows(DriftLine, lines_of(matrix), empty=empty)
    return DONE
