"""Commands of event rules: list, show, save, pause, resume and delete them, log and dry run; and post an event."""

from __future__ import annotations

from argparse import Namespace
from itertools import islice
from pathlib import Path

from .command_parser import (
    DONE,
    CommandParser,
    Subparsers,
    add_command,
    add_environment,
    add_limit,
    add_parameters,
    complain,
    parameters,
    read_json,
)
from .event_rule_answers import EventRule, RuleDryRun, RuleDryRunItem, RuleFiring
from .portal_api import PAGE, Portal
from .terminal import Screen


def add_event_rules(commands: Subparsers) -> None:
    group = commands.add_parser(
        "rule", help="Event rules: list, show, save, log, dry-run, pause, resume, delete", allow_abbrev=False
    )
    rules: Subparsers = group.add_subparsers(
        dest="rule_command", required=True, metavar="COMMAND", parser_class=CommandParser
    )
    parser = add_command(rules, "list", list_rules, "List your event rules")
    add_environment(parser)
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="only those that run it")
    add_limit(parser, 50)

    parser = add_command(rules, "show", show, "Show an event rule")
    parser.add_argument("key", metavar="KEY", help="its key")

    parser = add_command(rules, "save", save, "Save an event rule from JSON: a new one, or that of its name")
    parser.add_argument("definition", metavar="FILE", help="the rule as JSON, with the names of the API")
    parser.add_argument("--key", default="", help="of the rule to change; without it, found by its name")

    parser = add_command(rules, "delete", delete, "Delete an event rule; what it requested stays")
    parser.add_argument("key", metavar="KEY", help="its key")

    parser = add_command(rules, "log", log, "List what events did with a rule, newest first")
    parser.add_argument("key", metavar="KEY", help="its key")
    parser.add_argument("--outcome", default="", help="waiting, requested, skipped, refused or failed")
    add_limit(parser)

    parser = add_command(rules, "dry-run", dry_run, "Say what the events of the last day would have done with a rule")
    parser.add_argument("key", metavar="KEY", help="its key")

    for name, function, help_text in (
        ("pause", pause, "Pause an event rule: it requests nothing until it is resumed"),
        ("resume", resume, "Resume an event rule"),
    ):
        parser = add_command(rules, name, function, help_text)
        parser.add_argument("key", metavar="KEY", help="its key")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why")

    parser = add_command(commands, "post-event", post_event, "Post an event that event rules react to")
    parser.add_argument("name", metavar="NAME", help="of the event, such as month.closed")
    add_environment(parser, is_required=True)
    add_parameters(parser)
    parser.add_argument("--run", default="", metavar="ID", help="Prefect's id of the run that posts it")
    parser.add_argument("--key", default="", help="idempotency key: sent again with it, it is the same event")


def list_rules(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.event_rules(options.environment, deployment=options.deployment)
    screen.print_rows(EventRule, list(islice(found, options.limit)), empty="You have no such event rules.")
    return DONE


def show(portal: Portal, options: Namespace, screen: Screen) -> int:
    screen.print_row(portal.event_rule(options.key))
    return DONE


def save(portal: Portal, options: Namespace, screen: Screen) -> int:
    try:
        rule = read_json(Path(options.definition).read_text())
    except (OSError, ValueError) as error:
        return complain(f"{options.definition} cannot be read as JSON: {error}.")
    needed = {"name"} if options.key else {"name", "environment", "deployment", "trigger"}
    if not isinstance(rule, dict) or not needed <= rule.keys():
        return complain(f"{options.definition} must contain one JSON object with {', '.join(sorted(needed))}.")
    try:
        saved = portal.save_event_rule(rule, key=options.key)
    except ValueError as error:
        return complain(str(error))
    screen.print_row(saved, f"Saved {saved.name} with the key {saved.key}. {saved.url}".strip())
    return DONE


def delete(portal: Portal, options: Namespace, screen: Screen) -> int:
    deleted = portal.delete_event_rule(options.key)
    screen.print_row(deleted, f"{deleted.name} was deleted.")
    return DONE


def log(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.rule_firings(options.key, outcome=options.outcome, limit=min(options.limit, PAGE))
    screen.print_rows(RuleFiring, list(islice(found, options.limit)), empty="No event came to it.")
    return DONE


def dry_run(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.dry_run_rule(options.key)
    screen.print_row(found, total(found))
    if not screen.as_json:
        screen.print_rows(RuleDryRunItem, found.items, empty="Nothing happened that the rule waits for.")
    return DONE


def total(found: RuleDryRun) -> str:
    text = f"{found.request} would request a run, {found.skip} would be skipped, {found.refuse} refused."
    return f"{text} Each request would wait for approval." if found.needs_approval and found.request else text


def pause(portal: Portal, options: Namespace, screen: Screen) -> int:
    rule = portal.pause_rule(options.key, options.reason)
    screen.print_row(rule, f"{rule.name} is paused.")
    return DONE


def resume(portal: Portal, options: Namespace, screen: Screen) -> int:
    rule = portal.resume_rule(options.key, options.reason)
    screen.print_row(rule, f"{rule.name} is enabled.")
    return DONE


def post_event(portal: Portal, options: Namespace, screen: Screen) -> int:
    posted = portal.post_event(
        options.environment, options.name, parameters(options), run=options.run or None, key=options.key
    )
    screen.print_row(posted, f"Posted {posted.name} in {posted.environment}.")
    return DONE
