"""The command of notification rules: list, add and remove them."""

from __future__ import annotations

from argparse import Namespace
from itertools import islice

from .command_parser import DONE, CommandParser, Subparsers, add_command, add_environment, add_limit, positive
from .notification_answers import NotificationRule
from .portal_api import PAGE, Portal
from .terminal import Screen


def add_notification_rules(commands: Subparsers) -> None:
    help_text = "Choose your notifications by deployment, flow or tag"
    acts: Subparsers = commands.add_parser(
        "notification-rules", help=help_text, description=f"{help_text}."
    ).add_subparsers(dest="act", metavar="ACT", required=True, parser_class=CommandParser)
    parser = add_command(acts, "list", list_rules, "List your notification rules and those of your groups")
    add_environment(parser)
    parser.add_argument("--group", default="", metavar="NAME", help="only those of this group")
    parser.add_argument("--channel", default="", metavar="NAME", help="only those of this channel")
    add_limit(parser)

    parser = add_command(acts, "add", add, "Create a notification rule for yourself")
    parser.add_argument("name", help="such as “nightly loads”")
    parser.add_argument("topics", nargs="+", metavar="TOPIC", help="such as failed or recovered")
    add_environment(parser)
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="full name; without, all deployments")
    parser.add_argument("--flow", default="", help="only deployments of this flow")
    parser.add_argument("--tag", default="", help="only what has this tag")
    parser.add_argument(
        "--after", type=positive, default=0, metavar="MINUTES", help="of waiting: what nobody has decided by then"
    )

    parser = add_command(acts, "remove", remove, "Remove a notification rule")
    parser.add_argument("number", type=int, metavar="RULE", help="its number")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why")


def list_rules(portal: Portal, options: Namespace, screen: Screen) -> int:
    chosen = {"group": options.group, "channel": options.channel}
    found = portal.notification_rules(options.environment, active=True, **chosen, limit=min(options.limit, PAGE))
    rows = list(islice(found, options.limit))
    screen.print_rows(NotificationRule, rows, empty="There are no notification rules that you can see.")
    return DONE


def add(portal: Portal, options: Namespace, screen: Screen) -> int:
    made = portal.add_notification_rule(
        options.name,
        options.topics,
        environment=options.environment,
        deployment=options.deployment,
        flow=options.flow,
        tag=options.tag,
        after_minutes=options.after,
    )
    screen.print_row(made, f"Notification rule {made.id}: {made.name}.")
    return DONE


def remove(portal: Portal, options: Namespace, screen: Screen) -> int:
    removed = portal.remove_notification_rule(options.number, options.reason)
    screen.print_row(removed, f"Removed notification rule {removed.id}: {removed.name}.")
    return DONE
