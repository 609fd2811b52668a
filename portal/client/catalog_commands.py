"""Commands that read environments, deployments and runs, and those that act on runs."""

from __future__ import annotations

from argparse import Namespace
from itertools import islice

from .answers import Action, Deployment, Environment, Requested, Run
from .command_parser import (
    DONE,
    REFUSED,
    RUN_FAILED,
    RUN_LOST,
    UNAVAILABLE,
    Subparsers,
    add_command,
    add_deployment,
    add_environment,
    add_limit,
    add_reason,
    add_run,
    add_wait,
)
from .flow_answers import Flow, FlowPlace
from .portal_api import PAGE, Portal
from .request_commands import finish
from .terminal import Screen

# Final state of an action -> exit code with --wait
ACTION_ENDS = {"done": DONE, "overtaken": RUN_FAILED, "failed": UNAVAILABLE}

# Prefect's state types
STATES = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "CANCELLED", "COMPLETED", "FAILED", "CRASHED")


def add_catalog(commands: Subparsers) -> None:
    add_command(commands, "environments", environments, "List environments and the health of their Prefect servers")

    parser = add_command(commands, "deployments", deployments, "List deployments, or show one with its parameters")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="show this one; needs -e")
    add_environment(parser)
    parser.add_argument("--tag", action="append", default=[], help="only with this tag; can be repeated")

    parser = add_command(commands, "flows", flows, "List flows, or show the environments of one")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="show this one")
    add_environment(parser)
    parser.add_argument("--tag", action="append", default=[], help="only with this tag; can be repeated")

    parser = add_command(commands, "pins", pins, "List the deployments that you have pinned")
    add_environment(parser)
    for name, what in (("pin", "Pin a deployment: it is at the top of the pages"), ("unpin", "Unpin a deployment")):
        add_deployment(add_command(commands, name, pin, what))

    parser = add_command(commands, "runs", runs, "List runs, newest first")
    add_environment(parser)
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="full name of the deployment")
    parser.add_argument(
        "--state", action="append", default=[], type=str.upper, choices=STATES, help="in this state; repeatable"
    )
    parser.add_argument("--tag", action="append", default=[], help="only with this tag; can be repeated")
    parser.add_argument("--stalled", action="store_true", help="only those that are stalled")
    add_limit(parser)

    parser = add_command(commands, "logs", logs, "Print the log of a run")
    add_run(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run has ended")
    parser.add_argument("--level", type=int, default=0, metavar="N", help="20 info, 30 warning, 40 error and above")

    parser = add_command(commands, "events", events, "List what happened, oldest first; --json prints one a line")
    add_environment(parser)
    parser.add_argument("--kind", action="append", default=[], help="such as “run moved”; can be repeated")
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="full name of the deployment")
    parser.add_argument("--after", type=int, metavar="ID", help="only those after this event")
    parser.add_argument("-f", "--follow", action="store_true", help="follow them from now on, until interrupted")

    parser = add_command(commands, "cancel", cancel, "Cancel a run")
    add_run(parser)
    add_reason(parser)
    parser.add_argument("--force", action="store_true", help="mark it as cancelled when a cancellation had no effect")
    add_wait(parser, "Prefect confirms it")

    parser = add_command(commands, "recover", recover, "Put a stalled run back, or mark it as failed")
    add_run(parser)
    parser.add_argument("kind", choices=("put-back", "fail"), help="back to Scheduled, or failed")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="how you know that no process works on it")
    parser.add_argument("--ticket", default="", help="ticket; some policies require it")
    add_wait(parser, "it was done")

    parser = add_command(commands, "retry", retry, "Retry a failed run in place")
    add_run(parser)
    add_reason(parser)
    add_wait(parser, "the retry was sent, or the approved request has ended")

    for name, what in (("pause", "Pause the schedules of a deployment"), ("resume", "Resume them")):
        parser = add_command(commands, name, edit, what)
        add_deployment(parser)
        parser.add_argument(
            "--schedule", default="", metavar="NAME", help="only this schedule in Prefect, by its slug or id"
        )
        add_reason(parser)
        add_wait(parser, "Prefect confirms it")


def environments(portal: Portal, options: Namespace, screen: Screen) -> int:
    screen.print_rows(Environment, list(portal.environments()), empty="You can see no environment.")
    return DONE


def deployments(portal: Portal, options: Namespace, screen: Screen) -> int:
    if options.name:
        if not options.environment:
            screen.warn("Name the environment of the deployment: -e ENV.")
            return REFUSED
        screen.print_row(portal.deployment(options.environment, options.name))
        return DONE
    rows = list(portal.deployments(options.environment, tags=options.tag))
    screen.print_rows(Deployment, rows, empty="You can see no deployment there.")
    return DONE


def flows(portal: Portal, options: Namespace, screen: Screen) -> int:
    if not options.name:
        rows = list(portal.flows(options.environment, tag=options.tag))
        screen.print_rows(Flow, rows, empty="You can see no flow there.")
        return DONE
    found = portal.flow(options.name)
    if screen.as_json:
        screen.print_row(found)
    else:
        places = [each for each in found.environments if options.environment in ("", each.environment)]
        screen.print_rows(FlowPlace, places, empty=f"{found.name} has no deployment there that you see.")
    return DONE


def pins(portal: Portal, options: Namespace, screen: Screen) -> int:
    rows = list(portal.pins(options.environment))
    screen.print_rows(Deployment, rows, empty="You have pinned no deployment there that you see.")
    return DONE


def pin(portal: Portal, options: Namespace, screen: Screen) -> int:
    is_pin = options.command == "pin"
    row = (portal.pin if is_pin else portal.unpin)(options.environment, options.name)
    screen.print_row(row, f"{'Pinned' if is_pin else 'Unpinned'} {row.name} in {row.environment}.")
    return DONE


def runs(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.runs(
        options.environment,
        deployment=options.deployment,
        state=options.state,
        tag=options.tag,
        stalled="true" if options.stalled else None,
        limit=min(options.limit, PAGE),
    )
    screen.print_rows(Run, list(islice(found, options.limit)), empty="There are no such runs, or you cannot see them.")
    return DONE


def logs(portal: Portal, options: Namespace, screen: Screen) -> int:
    lines = portal.logs(options.run, level=options.level, follow=options.follow)
    if screen.as_json:
        screen.print_json(list(lines))
        return DONE
    for line in lines:
        screen.log(line)
    return DONE


def events(portal: Portal, options: Namespace, screen: Screen) -> int:
    filters = {"kind": options.kind, "deployment": options.deployment}
    for event in portal.events(options.environment, after=options.after, follow=options.follow, **filters):
        screen.event(event)
    return DONE


def cancel(portal: Portal, options: Namespace, screen: Screen) -> int:
    made = portal.cancel(options.run, options.reason, ticket=options.ticket, force=options.force)
    return finish_action(portal, made, options, screen)


def recover(portal: Portal, options: Namespace, screen: Screen) -> int:
    kind = options.kind.replace("-", " ")
    return finish_action(
        portal, portal.recover(options.run, kind, options.reason, ticket=options.ticket), options, screen
    )


def retry(portal: Portal, options: Namespace, screen: Screen) -> int:
    made = portal.retry(options.run, options.reason, ticket=options.ticket)
    return finish_request(portal, made, options, screen)


def edit(portal: Portal, options: Namespace, screen: Screen) -> int:
    is_pause = options.command == "pause"
    if options.schedule:
        switch = portal.pause_prefect_schedule if is_pause else portal.resume_prefect_schedule
        made = switch(options.environment, options.name, options.schedule, options.reason, ticket=options.ticket)
        return finish_action(portal, made, options, screen)
    act = portal.pause if is_pause else portal.resume
    made = act(options.environment, options.name, options.reason, ticket=options.ticket)
    return finish_action(portal, made, options, screen)


def finish_request(portal: Portal, made: Requested, options: Namespace, screen: Screen) -> int:
    """Finish the action, or the change request that has to be approved first."""
    if made.action is not None:
        return finish_action(portal, made.action, options, screen)
    assert made.change is not None
    return finish(portal, portal.change(made.change), options, screen)


def finish_action(portal: Portal, row: Action, options: Namespace, screen: Screen) -> int:
    """Wait for an action if asked to, print it, return the exit code."""
    if options.wait:
        with screen.progress(f"Waiting for Prefect: {row.kind}"):
            row = portal.wait(row, timeout=options.timeout)
    screen.print_row(row, f"{row.kind.capitalize()}: {row.state}. {row.message}".strip())
    return ACTION_ENDS.get(row.state, RUN_LOST) if options.wait else DONE
