"""The command `portal`: parse, act, print, and exit with a code for the kind of result."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import httpx

from . import login_commands
from .backfill_commands import add_backfills
from .catalog_commands import add_catalog
from .chain_commands import add_chains
from .channel_commands import add_channels
from .client_errors import (
    Forbidden,
    Misconfigured,
    NotFound,
    PortalError,
    PortalFailed,
    Problem,
    StillRunning,
    TokenRejected,
    TooManyRequests,
    UnexpectedAnswer,
    Unreachable,
)
from .command_parser import (
    EXIT_CODES_HELP,
    FORBIDDEN,
    NOT_FOUND,
    REFUSED,
    STILL_GOING,
    UNAVAILABLE,
    CommandParser,
)
from .drift_commands import add_drift
from .event_rule_commands import add_event_rules
from .failure_commands import add_failures
from .level_commands import add_levels
from .login_commands import add_login
from .message_commands import add_notifications
from .notification_commands import add_notification_rules
from .pool_commands import add_limits, add_pools
from .portal_api import Portal
from .preset_commands import add_presets
from .profile_commands import add_profiles
from .request_commands import add_requests
from .rule_commands import add_rules
from .schedule_commands import add_schedules
from .terminal import Screen
from .web_session import VERSION

# Error -> exit code; the first match counts.
EXIT_CODES: dict[type[PortalError], int] = {
    Misconfigured: REFUSED,
    TokenRejected: FORBIDDEN,
    Forbidden: FORBIDDEN,
    NotFound: NOT_FOUND,
    Unreachable: UNAVAILABLE,
    UnexpectedAnswer: UNAVAILABLE,
    PortalFailed: UNAVAILABLE,
    TooManyRequests: UNAVAILABLE,
    StillRunning: STILL_GOING,
    PortalError: REFUSED,
}
# Error -> what to do, where its sentence does not say so
ADVICE: dict[type[PortalError], str] = {
    TokenRejected: "Sign in again with a valid token: portal login.",
    Unreachable: "Check the address and the network, then try again.",
    PortalFailed: "Try again in a moment; if it stays, tell the operator of the portal.",
    Forbidden: "“portal why” explains what is missing; an administrator can grant it.",
    StillRunning: "“portal status” shows how it goes on.",
}
INTERRUPTED, PIPE_CLOSED = 130, 141


def main(arguments: Sequence[str] | None = None, *, transport: httpx.BaseTransport | None = None) -> int:
    """Run one command and return its exit code; wrong usage exits at once."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    screen = Screen(as_json=getattr(options, "as_json", False))
    try:
        return act(options, screen, parser, transport)
    except PortalError as error:
        for sentence in sentences(error):
            screen.warn(sentence)
        return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
    except (KeyboardInterrupt, EOFError):
        screen.warn("Interrupted. What was requested goes on; “portal runs” shows it.")
        return INTERRUPTED
    except BrokenPipeError:
        # `portal runs | head`: nothing more can be printed, not even when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def build_parser() -> CommandParser:
    parser = CommandParser(
        prog="portal", description="The operations portal for Prefect.", epilog=EXIT_CODES_HELP, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"portal_client {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)
    for add in (
        add_login,
        add_catalog,
        add_pools,
        add_limits,
        add_requests,
        add_presets,
        add_profiles,
        add_backfills,
        add_chains,
        add_event_rules,
        add_failures,
        add_levels,
        add_drift,
        add_notification_rules,
        add_notifications,
        add_channels,
        add_schedules,
        add_rules,
    ):
        add(commands)
    return parser


def act(
    options: argparse.Namespace, screen: Screen, parser: CommandParser, transport: httpx.BaseTransport | None
) -> int:
    match options.command:
        case "completion":
            return login_commands.completion(options, parser)
        case "login":
            return login_commands.login(options, screen, transport)
        case "logout":
            return login_commands.logout(options, screen)
    with Portal(transport=transport) as portal:
        code: int = options.function(portal, options, screen)
    return code


def sentences(error: PortalError) -> list[str]:
    """Return the lines to print: one for each wrong value, or what happened."""
    if isinstance(error, Problem) and error.errors:
        return [str(each) for each in error.errors]
    advice = next((text for kind, text in ADVICE.items() if isinstance(error, kind)), "")
    return [f"{error} {advice}".strip()]


if __name__ == "__main__":
    sys.exit(main())
