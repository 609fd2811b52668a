"""Commands of signing in, and of the shell's completion."""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace

import httpx

from . import credentials
from .command_parser import DONE, NOT_FOUND, CommandParser, Subparsers, add_command
from .completion_scripts import SHELLS, completion_script
from .portal_api import Portal
from .terminal import Screen


def add_login(commands: Subparsers) -> None:
    parser = commands.add_parser("login", help="Sign in with a token", description="Store an address and a token.")
    parser.add_argument("address", nargs="?", default="", metavar="ADDRESS", help="https://portal.example.com")
    parser.add_argument("--token-stdin", action="store_true", help="read the token from standard input")
    parser.add_argument("--allow-insecure", action="store_true", help="allow http:// to other machines")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON document and nothing else")

    parser = commands.add_parser("logout", help="Remove what login has stored", description="Remove what is stored.")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON document and nothing else")

    parser = commands.add_parser("completion", help="Print the completion of a shell", description="For your shell.")
    parser.add_argument("shell", choices=sorted(SHELLS))

    add_command(commands, "whoami", whoami, "Show whose token this is")


def login(options: Namespace, screen: Screen, transport: httpx.BaseTransport | None) -> int:
    """Check an address and a token with the portal, then store them."""
    address = options.address or (input("Address of the portal: ") if not options.token_stdin else "")
    token = (sys.stdin.read() if options.token_stdin else getpass.getpass("Token (not shown): ")).strip()
    # Given, even if empty: what the environment has is not what is to be stored.
    with Portal(address or "-", token or "-", allow_insecure=options.allow_insecure, transport=transport) as portal:
        me = portal.me()
        made = credentials.Credentials(portal.address, token, options.allow_insecure)
    place = credentials.save(made)
    screen.print_row(me, f"Signed in to {made.address} as {me.user}, stored in {place}.")
    return DONE


def logout(options: Namespace, screen: Screen) -> int:
    existed = credentials.remove()
    sentence = "Removed. The token stays valid until it expires: revoke it in the portal if you no longer need it."
    if screen.as_json:
        screen.print_json({"removed": existed})
    screen.say(sentence if existed else "Nothing is stored.")
    return DONE


def whoami(portal: Portal, options: Namespace, screen: Screen) -> int:
    me = portal.me()
    acting = f" for {me.on_behalf_of}" if me.on_behalf_of else ""
    screen.print_row(
        me,
        f"{me.user}{acting} at {portal.address}, with the token “{me.token_name}” ({me.token}), "
        f"valid until {me.expires_at.astimezone():%Y-%m-%d %H:%M}.",
    )
    return DONE


def completion(options: Namespace, parser: CommandParser) -> int:
    found = completion_script(options.shell, parser)
    sys.stdout.write(found)
    return DONE if found else NOT_FOUND
