"""The command of resource profiles; administrators create them on the pages."""

from __future__ import annotations

from argparse import Namespace

from .command_parser import DONE, REFUSED, CommandParser, Subparsers, add_command, add_environment
from .portal_api import Portal
from .profile_answers import ResourceProfile
from .terminal import Screen


def add_profiles(commands: Subparsers) -> None:
    parser = add_command(commands, "profiles", profiles, "List resource profiles")
    add_environment(parser)
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="those to choose from for it; needs -e")


def add_profile(parser: CommandParser) -> None:
    """Add the option of a command that requests runs."""
    parser.add_argument("--profile", default="", metavar="NAME", help="resource profile: CPU, memory, image and such")


def profiles(portal: Portal, options: Namespace, screen: Screen) -> int:
    if options.deployment and not options.environment:
        screen.warn("Name the environment of the deployment: -e ENV.")
        return REFUSED
    if options.deployment:
        found = portal.offered_profiles(options.environment, options.deployment)
    else:
        found = list(portal.resource_profiles(options.environment, active=True))
    screen.print_rows(ResourceProfile, found, empty="There are no such resource profiles.")
    return DONE
