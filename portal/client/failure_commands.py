"""The command of failures: list and show them, own, mute and resolve them, and retry their runs."""

from __future__ import annotations

from argparse import Namespace
from itertools import islice

from .command_parser import (
    DONE,
    REFUSED,
    CommandParser,
    Subparsers,
    add_command,
    add_environment,
    add_limit,
    add_reason,
    moment,
    positive,
)
from .failure_answers import Failure, FailureDetail, RetriedRun
from .portal_api import PAGE, Portal
from .terminal import Screen

STATES = ("open", "new", "known", "muted", "resolved", "regressed")


def add_failures(commands: Subparsers) -> None:
    help_text = "List failures grouped by their cause, and deal with them"
    acts: Subparsers = commands.add_parser("failures", help=help_text, description=f"{help_text}.").add_subparsers(
        dest="act", metavar="ACT", required=True, parser_class=CommandParser
    )

    parser = add_command(acts, "list", list_failures, "List failures, those that failed last first")
    add_environment(parser)
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="full name of the deployment")
    parser.add_argument(
        "--state", action="append", choices=STATES, default=[], help="can be repeated; open is not muted or resolved"
    )
    parser.add_argument("--owner", default="", metavar="USER", help="only those of this owner")
    add_limit(parser)

    add_number(add_command(acts, "show", show, "Show a failure, and what was done about it"))

    parser = add_number(add_command(acts, "own", own, "Set the owner of a failure"))
    parser.add_argument("owner", nargs="?", default="", metavar="USER", help="user name; without, it has no owner")

    parser = add_number(
        add_command(acts, "acknowledge", acknowledge, "Mark a failure as known, also a muted or resolved one")
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="why")

    parser = add_number(add_command(acts, "mute", mute, "Count a failure without notifications until a time"))
    parser.add_argument("--until", required=True, type=moment, metavar="TIME", help="such as 2026-12-06T12:00Z")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why")

    parser = add_number(add_command(acts, "resolve", resolve, "Mark a failure as resolved"))
    parser.add_argument("--reason", required=True, metavar="TEXT", help="what resolved it")

    parser = add_number(add_command(acts, "note", note, "Add a note to a failure"))
    parser.add_argument("text", metavar="TEXT")

    parser = add_number(add_command(acts, "retry", retry, "Retry the runs of a failure that are still failed"))
    parser.add_argument("--most", type=positive, metavar="N", help="only the newest so many")
    add_reason(parser)


def add_number(parser: CommandParser) -> CommandParser:
    parser.add_argument("number", type=int, metavar="FAILURE", help="its number")
    return parser


def list_failures(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.failures(
        options.environment,
        deployment=options.deployment,
        state=options.state,
        owner=options.owner,
        limit=min(options.limit, PAGE),
    )
    screen.print_rows(Failure, list(islice(found, options.limit)), empty="There are no such failures that you can see.")
    return DONE


def show(portal: Portal, options: Namespace, screen: Screen) -> int:
    return print_failure(portal.failure(options.number), screen)


def own(portal: Portal, options: Namespace, screen: Screen) -> int:
    return print_state(portal.own_failure(options.number, options.owner), screen)


def acknowledge(portal: Portal, options: Namespace, screen: Screen) -> int:
    return print_state(portal.acknowledge_failure(options.number, options.reason), screen)


def mute(portal: Portal, options: Namespace, screen: Screen) -> int:
    return print_state(portal.mute_failure(options.number, options.until, options.reason), screen)


def resolve(portal: Portal, options: Namespace, screen: Screen) -> int:
    return print_state(portal.resolve_failure(options.number, options.reason), screen)


def note(portal: Portal, options: Namespace, screen: Screen) -> int:
    return print_state(portal.note_failure(options.number, options.text), screen)


def retry(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.retry_failure(options.number, options.reason, ticket=options.ticket, most=options.most)
    lines = [describe_retry(each) for each in found.items]
    total = f"{sum(not each.code for each in found.items)} of {len(found.items)} runs will be retried."
    left = [f"{found.left} were not reached in time. Repeat the command for them."] if found.left else []
    screen.print_row(found, *lines, total, *left)
    return DONE if found.items and not any(each.code for each in found.items) else REFUSED


def describe_retry(found: RetriedRun) -> str:
    if found.code:
        return f"{found.run}  refused: {found.why} ({found.code})"
    return (
        f"{found.run}  waits for approval: change request {found.change}" if found.change else f"{found.run}  retried"
    )


def print_state(found: FailureDetail, screen: Screen) -> int:
    owner = f", owner {found.owner}" if found.owner else ""
    screen.print_row(found, f"Failure {found.id}, {found.deployment} in {found.environment}: {found.state}{owner}.")
    return DONE


def print_failure(found: FailureDetail, screen: Screen) -> int:
    task = f", task {found.task}" if found.task else ""
    lines = [
        f"Failure {found.id}, {found.deployment} in {found.environment}{task}: {found.state}",
        *([f"Reason: {found.reason}"] if found.reason else []),
        f"{found.failures} failures, the first {found.first_seen_at:%Y-%m-%d %H:%M %Z}, the last "
        f"{found.last_seen_at:%Y-%m-%d %H:%M %Z}. Owner: {found.owner or 'none'}.",
        *(f"{each.at:%Y-%m-%d %H:%M}  {each.kind}  {each.by or 'portal'}  {each.text}".rstrip() for each in found.acts),
        found.url,
    ]
    screen.print_row(found, *lines)
    return DONE
