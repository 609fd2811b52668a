"""The commands of channels and deliveries, to read; administrators manage channels on the pages."""

from __future__ import annotations

from argparse import Namespace
from itertools import islice

from .channel_answers import Channel, Delivery
from .command_parser import DONE, Subparsers, add_command, add_environment, add_limit
from .portal_api import PAGE, Portal
from .terminal import Screen

STATES = ("wanted", "sent", "failed")


def add_channels(commands: Subparsers) -> None:
    add_command(commands, "channels", channels, "List the addresses outside the portal that receive notifications")

    parser = add_command(commands, "deliveries", deliveries, "List what was sent to channels and by email to you")
    add_environment(parser)
    parser.add_argument("--channel", default="", metavar="NAME", help="only what was sent there")
    parser.add_argument("--state", choices=STATES, default="", help="only in this state; wanted is queued")
    add_limit(parser)


def channels(portal: Portal, options: Namespace, screen: Screen) -> int:
    screen.print_rows(Channel, list(portal.channels()), empty="There are no channels that you can see.")
    return DONE


def deliveries(portal: Portal, options: Namespace, screen: Screen) -> int:
    chosen = {"channel": options.channel, "state": options.state}
    found = portal.deliveries(options.environment, **chosen, limit=min(options.limit, PAGE))
    rows = list(islice(found, options.limit))
    screen.print_rows(Delivery, rows, empty="There are no such deliveries that you can see.")
    return DONE
