"""The command of presets: list them, save, rename, share and delete them."""

from __future__ import annotations

from argparse import Namespace

from .answers import Preset
from .command_parser import (
    DONE,
    Subparsers,
    add_command,
    add_environment,
    add_limit,
    add_parameters,
    complain,
    parameters,
)
from .portal_api import Portal
from .profile_commands import add_profile
from .terminal import Screen


def add_presets(commands: Subparsers) -> None:
    parser = add_command(commands, "presets", presets, "List presets of run forms: yours, and those that others share")
    add_environment(parser)
    parser.add_argument("-d", "--deployment", default="", metavar="NAME", help="full name of the deployment")
    parser.add_argument("--name", default="", metavar="TEXT", help="only those of this name")
    add_limit(parser, 50)

    parser = add_command(commands, "save-preset", save, "Save values of a deployment as a preset, without its secrets")
    parser.add_argument("name", metavar="DEPLOYMENT", help="flow/deployment, an id, or a name that is unique there")
    parser.add_argument("preset", metavar="PRESET", help="name of the preset")
    add_environment(parser, is_required=True)
    add_parameters(parser)
    add_profile(parser)
    parser.add_argument("--share", action="store_true", help="for everyone who can view the parameters there")

    parser = add_command(commands, "change-preset", change, "Rename or share a preset of yours, or stop sharing it")
    parser.add_argument("number", type=int, metavar="NUMBER", help="its number")
    parser.add_argument("--name", metavar="TEXT", help="its new name")
    parser.add_argument("--share", action="store_true", default=None, dest="is_shared", help="share it")
    parser.add_argument("--unshare", action="store_false", default=None, dest="is_shared", help="stop sharing it")

    parser = add_command(commands, "delete-preset", delete, "Delete a preset of yours")
    parser.add_argument("number", type=int, metavar="NUMBER", help="its number")


def presets(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = portal.presets(options.environment, deployment=options.deployment, name=options.name)
    rows = [each for each, _ in zip(found, range(options.limit), strict=False)]
    screen.print_rows(Preset, rows, empty="There are no such presets that you can see.")
    return DONE


def save(portal: Portal, options: Namespace, screen: Screen) -> int:
    values, profile = parameters(options), options.profile
    saved = portal.save_preset(
        options.environment, options.name, options.preset, values, is_shared=options.share, profile=profile
    )
    screen.print_row(saved, f"Saved as {saved.name} (number {saved.id}).")
    return DONE


def change(portal: Portal, options: Namespace, screen: Screen) -> int:
    changes = {name: getattr(options, name) for name in ("name", "is_shared") if getattr(options, name) is not None}
    if not changes:
        return complain("Give a new name, --share or --unshare.")
    changed = portal.change_preset(options.number, **changes)
    screen.print_row(changed, f"Preset {changed.name}: {'shared' if changed.is_shared else 'only for you'}.")
    return DONE


def delete(portal: Portal, options: Namespace, screen: Screen) -> int:
    deleted = portal.delete_preset(options.number)
    screen.print_row(deleted, f"Deleted the preset {deleted.name}.")
    return DONE
