"""Commands of rules: explanations, grants, change windows, freezes, the audit trail."""

from __future__ import annotations

from argparse import Namespace
from itertools import islice

from .command_parser import (
    DONE,
    FORBIDDEN,
    UNAVAILABLE,
    Subparsers,
    add_command,
    add_confirmation,
    add_deployment,
    add_environment,
    add_limit,
    add_parameters,
    add_reason,
    json_object,
    moment,
    parameters,
    verbs,
)
from .portal_api import PAGE, Portal
from .rule_answers import AuditEntry, Bypass, Grant, Granted, UnassignedDeployment, WhoCan, WindowHours
from .terminal import Screen

VERB = "verb such as trigger, see, cancel, approve or “see logs”; trigger-later is “trigger later”"
CONFIRMED = "name of the protected environment that this opens"


def add_rules(commands: Subparsers) -> None:
    parser = add_command(commands, "why", why, "Explain whether you may do something; exits with 2 if not")
    parser.add_argument("verb", metavar="VERB", help=VERB)
    add_deployment(parser)
    add_parameters(parser)

    parser = add_command(commands, "who-can", who_can, "List who can do what with a deployment")
    add_deployment(parser)
    parser.add_argument("--verb", action="append", default=[], help=f"{VERB}; can be repeated")

    parser = add_command(commands, "grants", grants, "List grants, newest first")
    add_environment(parser)
    parser.add_argument("--person", default="", metavar="USER", help="only those of this user")
    parser.add_argument("--group", default="", help="only those of this group")
    add_limit(parser)

    parser = add_command(commands, "grant", grant, "Create a grant")
    parser.add_argument("to", metavar="TO", help="user name, or group:NAME")
    parser.add_argument("verbs", nargs="+", metavar="VERB", help=VERB)
    add_environment(parser)
    parser.add_argument("--flow", default="", help="only deployments of this flow")
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="only this one, by its full name")
    parser.add_argument("--tag", default="", help="only deployments with this tag")
    parser.add_argument("--deny", action="store_true", help="deny instead of allow")
    parser.add_argument("--condition", type=json_object, help="JSON Schema that the parameters must satisfy")
    parser.add_argument("--from", dest="valid_from", type=moment, metavar="TIME", help="not before")
    parser.add_argument("--until", dest="valid_until", type=moment, metavar="TIME", help="not after")
    add_reason(parser)
    add_confirmation(parser, CONFIRMED)

    parser = add_command(commands, "revoke", revoke, "Revoke a grant")
    parser.add_argument("number", type=int, metavar="GRANT", help="its number")
    add_reason(parser)
    add_confirmation(parser, CONFIRMED)

    parser = add_command(commands, "windows", windows, "Show whether runs can start, and when change windows open")
    parser.add_argument("environment", metavar="ENV")
    parser.add_argument("deployment", nargs="?", default="", metavar="NAME", help="only for this deployment")
    parser.add_argument("--at", type=moment, metavar="TIME", help="at this time: 2026-11-30T06:00+01:00")

    parser = add_command(commands, "freeze", freeze, "Stop all starts in an environment")
    parser.add_argument("environment", metavar="ENV")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why")
    parser.add_argument("--ticket", default="", help="ticket")
    parser.add_argument("--until", type=moment, metavar="TIME", help="end of the freeze; without, until it is lifted")

    parser = add_command(commands, "unfreeze", unfreeze, "End the freeze of an environment")
    parser.add_argument("environment", metavar="ENV")
    add_reason(parser)
    add_confirmation(parser, CONFIRMED)

    parser = add_command(commands, "bypasses", bypasses, "List what starts runs without the portal, newest first")
    add_environment(parser)
    parser.add_argument("--all", action="store_true", help="those that are gone too")

    parser = add_command(commands, "unassigned", unassigned, "List deployments that are in no environment")
    add_environment(parser)

    parser = add_command(commands, "audit", audit, "Read the audit trail, newest first")
    add_environment(parser)
    parser.add_argument("--verb", action="append", default=[], help="such as request.approve; can be repeated")
    parser.add_argument("--actor", default="", metavar="NAME", help="name of the actor")
    parser.add_argument("--outcome", default="", help="done, refused or failed")
    parser.add_argument("--since", type=moment, metavar="TIME", help="not before")
    parser.add_argument("--until", type=moment, metavar="TIME", help="before")
    add_limit(parser)


def why(portal: Portal, options: Namespace, screen: Screen) -> int:
    values = parameters(options) if options.pairs or options.file else None
    (verb,) = verbs([options.verb])
    found = portal.why(verb, options.environment, options.name, values)
    ignored = [f"Grant {each.get('grant')} does not count: {each.get('why')}" for each in found.ignored]
    screen.print_row(found, f"{'Yes' if found.allowed else 'No'}: {found.why} ({found.code})", *ignored)
    return DONE if found.allowed else FORBIDDEN


def who_can(portal: Portal, options: Namespace, screen: Screen) -> int:
    rows = portal.who_can(options.environment, options.name, *verbs(options.verb))
    screen.print_rows(WhoCan, rows, empty="There is nothing to list.")
    return DONE


def grants(portal: Portal, options: Namespace, screen: Screen) -> int:
    filters = {"person": options.person, "group": options.group, "limit": min(options.limit, PAGE)}
    rows = list(islice(portal.grants(options.environment, **filters), options.limit))
    screen.print_rows(Grant, rows, empty="There are no such grants, or you cannot see them.")
    return DONE


def grant(portal: Portal, options: Namespace, screen: Screen) -> int:
    made = portal.grant(
        options.to,
        verbs(options.verbs),
        options.environment,
        flow=options.flow,
        deployment=options.deployment,
        tag=options.tag,
        effect="deny" if options.deny else "allow",
        condition=options.condition,
        valid_from=options.valid_from,
        valid_until=options.valid_until,
        reason=options.reason,
        ticket=options.ticket,
        confirm=options.confirm,
    )
    return show_grant(made, "created", screen)


def revoke(portal: Portal, options: Namespace, screen: Screen) -> int:
    made = portal.revoke(options.number, options.reason, ticket=options.ticket, confirm=options.confirm)
    return show_grant(made, "revoked", screen)


def show_grant(made: Granted, what: str, screen: Screen) -> int:
    screen.print_row(made, f"Grant {made.grant.id} {what}." if made.grant else waiting(made.change))
    return DONE


def waiting(change: int | None) -> str:
    return f"Change request {change} waits for a second administrator."


def windows(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.windows(options.environment, options.deployment, at=options.at)
    what = found.deployment or found.environment
    screen.print_row(found, found.why or f"Runs of {what} can start.")
    if not screen.as_json:
        screen.print_rows(WindowHours, found.windows, empty="No change windows.")
    return DONE


def freeze(portal: Portal, options: Namespace, screen: Screen) -> int:
    made = portal.freeze(options.environment, options.reason, until=options.until, ticket=options.ticket)
    screen.print_row(made, f"{made.environment} is frozen: {made.reason}. No run starts there.".replace("..", "."))
    return DONE


def unfreeze(portal: Portal, options: Namespace, screen: Screen) -> int:
    made = portal.unfreeze(options.environment, options.reason, ticket=options.ticket, confirm=options.confirm)
    screen.print_row(made, waiting(made.change) if made.change else f"The freeze of {options.environment} has ended.")
    return DONE


def unassigned(portal: Portal, options: Namespace, screen: Screen) -> int:
    rows = list(portal.unassigned_deployments(options.environment))
    screen.print_rows(UnassignedDeployment, rows, empty="There are no such deployments, or you cannot see them.")
    return DONE


def bypasses(portal: Portal, options: Namespace, screen: Screen) -> int:
    rows = list(portal.bypasses(options.environment, state=None if options.all else "open"))
    unread = {
        each.name: each.automations_failure
        for each in portal.environments()
        if each.automations_failure and options.environment in ("", each.name)
    }
    for name, why in unread.items():
        screen.warn(f"The automations of {name} could not be read, so some may be missing: {why}")
    screen.print_rows(Bypass, rows, empty="Nothing that you can see starts runs there without the portal.")
    return UNAVAILABLE if unread else DONE


def audit(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.audit(
        options.environment,
        verb=options.verb,
        actor=options.actor,
        outcome=options.outcome,
        since=options.since,
        until=options.until,
        limit=min(options.limit, PAGE),
    )
    screen.print_rows(AuditEntry, list(islice(found, options.limit)), empty="There are no such entries.")
    return DONE
