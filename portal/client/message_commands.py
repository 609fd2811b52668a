"""The command of notifications: list and read them."""

from __future__ import annotations

from argparse import Namespace
from itertools import islice

from .command_parser import DONE, CommandParser, Subparsers, add_command, add_environment, add_limit
from .message_answers import Notification
from .portal_api import PAGE, Portal
from .terminal import Screen


def add_notifications(commands: Subparsers) -> None:
    help_text = "List your notifications, and mark them as read"
    acts: Subparsers = commands.add_parser("notifications", help=help_text, description=f"{help_text}.").add_subparsers(
        dest="act", metavar="ACT", required=True, parser_class=CommandParser
    )
    parser = add_command(acts, "list", list_notifications, "List your notifications, newest first")
    add_environment(parser)
    parser.add_argument("--unread", action="store_true", help="only those that you have not read")
    add_limit(parser)

    parser = add_command(acts, "read", mark_read, "Mark notifications as read")
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="their numbers; without, all of them")


def list_notifications(portal: Portal, options: Namespace, screen: Screen) -> int:
    only_unread = {"unread": True} if options.unread else {}
    found = portal.notifications(options.environment, **only_unread, limit=min(options.limit, PAGE))
    screen.print_rows(Notification, list(islice(found, options.limit)), empty="You have no such notifications.")
    return DONE


def mark_read(portal: Portal, options: Namespace, screen: Screen) -> int:
    done = portal.mark_read(*options.numbers)
    screen.print_row(done, f"Marked as read: {done.marked}.")
    return DONE
