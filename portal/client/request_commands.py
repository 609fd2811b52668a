"""Commands of requests: run, rerun, override, status, the inbox and its decisions."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from uuid import uuid4

from .answers import Change, InboxChange, RunRequest
from .client_errors import StillRunning, Unreachable
from .command_parser import (
    DONE,
    REFUSED,
    RUN_FAILED,
    RUN_LOST,
    STILL_GOING,
    CommandParser,
    Subparsers,
    add_command,
    add_confirmation,
    add_deployment,
    add_parameters,
    add_reason,
    add_wait,
    moment,
    parameters,
)
from .portal_api import Portal
from .profile_commands import add_profile
from .terminal import Screen

# Final state of a request that became a run -> exit code with --wait
REQUEST_ENDS = {"completed": DONE, "failed": RUN_FAILED, "cancelled": RUN_FAILED, "lost": RUN_LOST}


def add_requests(commands: Subparsers) -> None:
    parser = add_command(commands, "run", run, "Request a run of a deployment")
    add_deployment(parser)
    add_parameters(parser)
    parser.add_argument("--preset", default="", metavar="NAME", help="fill in the other parameters from this preset")
    add_profile(parser)
    add_reason(parser)
    parser.add_argument("--at", type=moment, metavar="TIME", help="start later: 2026-11-30T06:00+01:00")
    parser.add_argument("--tag", action="append", default=[], help="can be repeated")
    parser.add_argument("--name", dest="run_name", default="", metavar="TEXT", help="name of the run")
    parser.add_argument("--retries", type=int, default=0, metavar="N", help="retries that are approved with it (0)")
    parser.add_argument("--on-behalf-of", default="", metavar="USER", help="the person you act for")
    parser.add_argument("--override-window", action="store_true", help="start despite change windows and freezes")
    add_confirmation(parser, "full name of the deployment, for a run that deletes data")
    add_result(parser)

    parser = add_command(commands, "rerun", rerun, "Request a run again, with the same values or some replaced")
    parser.add_argument("number", type=int, metavar="REQUEST", help="number of the request that it repeats")
    add_parameters(parser)
    parser.add_argument("--profile", metavar="NAME", help="another resource profile; blank is none")
    add_reason(parser)
    add_confirmation(parser, "full name of the deployment, for a run that deletes data")
    add_result(parser)

    parser = add_command(commands, "override", override, "Start a request that a change window or a freeze holds")
    parser.add_argument("number", type=int, metavar="REQUEST", help="its number")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why it cannot wait")

    parser = add_command(commands, "status", status, "Show a run request, or a run with its states")
    parser.add_argument("reference", metavar="NUMBER|RUN", help="number of the request; id or name of the run")

    add_command(commands, "inbox", inbox, "List the change requests that need your approval")

    parser = add_command(commands, "approve", approve, "Approve a change request")
    parser.add_argument("number", type=int, metavar="CHANGE", help="its number")
    parser.add_argument("--reason", default="", metavar="TEXT", help="a comment on the approval")
    parser.add_argument("--digest", default="", help="of the request as it was read; refused if it has changed since")

    parser = add_command(commands, "reject", reject, "Reject a change request")
    parser.add_argument("number", type=int, metavar="CHANGE", help="its number")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why")

    parser = add_command(commands, "withdraw", withdraw, "Withdraw your change request")
    parser.add_argument("number", type=int, metavar="CHANGE", help="its number")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why")

    parser = add_command(commands, "comment", comment, "Comment on a change request")
    parser.add_argument("number", type=int, metavar="CHANGE", help="its number")
    parser.add_argument("text", metavar="TEXT")


def add_result(parser: CommandParser) -> None:
    """Add the options of a command that requests a run."""
    parser.add_argument("--key", default="", help="idempotency key: sent again with it, it is the same request")
    add_wait(parser, "the run has ended")
    parser.add_argument("--logs", action="store_true", help="with --wait: print its log meanwhile")


def run(portal: Portal, options: Namespace, screen: Screen) -> int:
    def send(key: str) -> Change:
        return portal.run(
            options.environment,
            options.name,
            parameters(options),
            preset=options.preset,
            reason=options.reason,
            ticket=options.ticket,
            scheduled_for=options.at,
            tags=options.tag,
            run_name=options.run_name,
            profile=options.profile,
            retries=options.retries,
            on_behalf_of=options.on_behalf_of,
            override_window=options.override_window,
            confirm=options.confirm,
            key=key,
        )

    return submit(portal, send, options, screen)


def rerun(portal: Portal, options: Namespace, screen: Screen) -> int:
    def send(key: str) -> Change:
        return portal.rerun(
            options.number,
            parameters(options),
            profile=options.profile,
            reason=options.reason,
            ticket=options.ticket,
            confirm=options.confirm,
            key=key,
        )

    return submit(portal, send, options, screen)


def submit(portal: Portal, send: Callable[[str], Change], options: Namespace, screen: Screen) -> int:
    """Send a request with its key; after a lost connection say how to send it once all the same."""
    key = options.key or str(uuid4())
    try:
        change = send(key)
    except Unreachable:
        screen.warn(f"The request may have arrived. To send it once all the same, add --key {key} and repeat it.")
        raise
    return finish(portal, change, options, screen)


def finish(portal: Portal, change: Change, options: Namespace, screen: Screen) -> int:
    """Wait for a change request if asked to, print it, return the exit code."""
    late: StillRunning | None = None
    if options.wait:
        on_log = screen.log if getattr(options, "logs", False) else None
        try:
            with screen.progress(describe(change)):
                change = portal.wait(change, timeout=options.timeout, on_log=on_log)
        except StillRunning as error:
            late, change = error, error.last
    screen.print_row(change, describe(change))
    if late:
        screen.warn(str(late))
        return STILL_GOING
    return exit_code(change) if options.wait else DONE


def exit_code(change: Change) -> int:
    """Return the code of how it ended; what never became a run was refused."""
    codes = [REQUEST_ENDS.get(each.state, REFUSED) if each.run else REFUSED for each in change.requests]
    return max(codes, default=REFUSED)


def describe_backfill(change: Change) -> str:
    """Return how many of its runs are in which state: of a thousand nobody reads each."""
    counts = Counter(each.state_name for each in change.requests)
    states = ", ".join(f"{count} {name.lower()}" for name, count in counts.most_common())
    what = f"Backfill {change.id}, {len(change.requests)} runs: {change.state_name.lower()}."
    return f"{what} {states.capitalize()}. {change.message}".strip()


def describe(change: Change) -> str:
    if change.kind == "backfill":
        return describe_backfill(change)
    if not change.requests:
        return f"Change request {change.id} ({change.kind}): {change.state_name}. {change.message}".strip()
    return " ".join(describe_request(each) for each in change.requests)


def describe_request(row: RunRequest) -> str:
    sentence = f"Request {row.id} for {row.deployment} in {row.environment}: {row.state_name}."
    sentence += f" {row.message}" if row.message else ""
    return f"{sentence} {row.url}" if row.url else sentence


def status(portal: Portal, options: Namespace, screen: Screen) -> int:
    if options.reference.isdecimal():
        screen.print_row(portal.request(int(options.reference)))
    else:
        screen.print_row(portal.run_status(options.reference))
    return DONE


def override(portal: Portal, options: Namespace, screen: Screen) -> int:
    row = portal.override(options.number, options.reason)
    screen.print_row(row, describe_request(row))
    return DONE


def inbox(portal: Portal, options: Namespace, screen: Screen) -> int:
    screen.print_rows(InboxChange, portal.inbox(), empty="Nothing needs your approval.")
    return DONE


def approve(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.approve(options.number, options.reason, digest=options.digest), screen)


def reject(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.reject(options.number, options.reason), screen)


def withdraw(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.withdraw(options.number, options.reason), screen)


def comment(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.comment(options.number, options.text), screen)


def show(change: Change, screen: Screen) -> int:
    screen.print_row(change, describe(change))
    return DONE
