"""Commands of work pools and their queues, and of limits."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from typing import Any

from .catalog_commands import finish_request
from .command_parser import (
    DONE,
    REFUSED,
    CommandParser,
    Subparsers,
    add_command,
    add_confirmation,
    add_deployment,
    add_environment,
    add_reason,
    add_wait,
)
from .pool_answers import ConcurrencyLimit, WorkPool, WorkQueue
from .portal_api import Portal
from .terminal import Screen

# A limit that the command does not name; None is no limit.
STAYS = ...
# What becomes of runs beyond the limit, as Prefect calls it
BEYOND = {"wait": "ENQUEUE", "cancel": "CANCEL_NEW"}


def add_pools(commands: Subparsers) -> None:
    parser = add_command(commands, "pools", pools, "List work pools, or show the queues of one")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="show this one; needs -e")
    add_environment(parser)

    for name, what in (("pause-pool", "Pause a work pool or queue"), ("resume-pool", "Resume a work pool or queue")):
        parser = add_command(commands, name, pause, what)
        add_pool(parser)
        finish_parser(parser, is_confirmed=name == "resume-pool")

    parser = add_command(commands, "limit-pool", limit_pool, "Change the limit of a work pool or queue")
    add_pool(parser)
    add_limit(parser)
    parser.add_argument("--priority", type=int, metavar="N", help="of a queue: 1 is taken first")
    finish_parser(parser)

    parser = add_command(commands, "limit", limit, "Change the concurrency limit of a deployment")
    add_deployment(parser)
    add_limit(parser)
    parser.add_argument("--beyond", choices=tuple(BEYOND), help="what becomes of runs beyond the limit")
    finish_parser(parser)


def add_limits(commands: Subparsers) -> None:
    parser = add_command(commands, "limits", limits, "List global concurrency limits, and those of tags")
    add_environment(parser)

    parser = add_command(commands, "change-limit", change_limit, "Change, deactivate or activate such a limit")
    parser.add_argument("number", type=int, metavar="NUMBER", help="its number")
    parser.add_argument("--limit", type=int, metavar="N", help="slots at a time")
    parser.add_argument("--activate", action="store_true", default=None, dest="is_active", help="let it limit again")
    parser.add_argument(
        "--deactivate", action="store_false", default=None, dest="is_active", help="let it limit nothing"
    )
    finish_parser(parser)

    parser = add_command(commands, "create-limit", create_limit, "Create such a limit")
    parser.add_argument("name", metavar="NAME", help="its name")
    parser.add_argument("--tag", action="store_true", help="NAME is a tag, of which it limits the task runs")
    parser.add_argument("--limit", type=int, required=True, metavar="N", help="slots at a time")
    parser.add_argument(
        "--slot-decay", type=float, default=0.0, metavar="N", help="slots a second that become free by themselves"
    )
    add_environment(parser, is_required=True)
    finish_parser(parser, is_confirmed=False)

    parser = add_command(commands, "delete-limit", delete_limit, "Delete such a limit")
    parser.add_argument("number", type=int, metavar="NUMBER", help="its number")
    finish_parser(parser)


def add_pool(parser: CommandParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the work pool")
    parser.add_argument("--queue", default="", metavar="NAME", help="a queue of it, not all of it")
    add_environment(parser, is_required=True)


def add_limit(parser: CommandParser) -> None:
    parser.add_argument("--limit", type=limit_or_none, default=STAYS, metavar="N", help="runs at a time, or “none”")


def finish_parser(parser: CommandParser, *, is_confirmed: bool = True) -> None:
    add_reason(parser)
    if is_confirmed:
        add_confirmation(parser, "name of the protected environment, for more runs than before")
    add_wait(parser, "Prefect confirms it")


def limit_or_none(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text} is neither a number nor “none”")
    return int(text)


def pools(portal: Portal, options: Namespace, screen: Screen) -> int:
    if not options.name:
        found = list(portal.work_pools(options.environment))
        screen.print_rows(WorkPool, found, empty="You can see no work pool there.")
        return DONE
    if not options.environment:
        screen.warn("Name the environment of the work pool: -e ENV.")
        return REFUSED
    pool = portal.work_pool(options.environment, options.name)
    if screen.as_json:
        screen.print_row(pool)
        return DONE
    limit = "no concurrency limit" if pool.concurrency_limit is None else f"at most {pool.concurrency_limit} at a time"
    state = "paused" if pool.is_paused else f"{pool.workers_online} of {len(pool.workers)} workers online"
    screen.say(f"{pool.name} ({pool.type}): {state}, {limit}.")
    screen.print_rows(WorkQueue, pool.queues, empty="It has no queue.")
    return DONE


def pause(portal: Portal, options: Namespace, screen: Screen) -> int:
    consent = {"queue": options.queue, "ticket": options.ticket}
    if options.command == "pause-pool":
        made = portal.pause_pool(options.environment, options.name, options.reason, **consent)
    else:
        made = portal.resume_pool(options.environment, options.name, options.reason, confirm=options.confirm, **consent)
    return finish_request(portal, made, options, screen)


def limit_pool(portal: Portal, options: Namespace, screen: Screen) -> int:
    wanted = chosen_limits(options, priority=options.priority)
    made = portal.limit_pool(options.environment, options.name, options.reason, queue=options.queue, **wanted)
    return finish_request(portal, made, options, screen)


def limit(portal: Portal, options: Namespace, screen: Screen) -> int:
    wanted = chosen_limits(options, collision_strategy=BEYOND.get(options.beyond))
    made = portal.limit(options.environment, options.name, options.reason, **wanted)
    return finish_request(portal, made, options, screen)


def limits(portal: Portal, options: Namespace, screen: Screen) -> int:
    found = list(portal.concurrency_limits(options.environment))
    screen.print_rows(ConcurrencyLimit, found, empty="You can see no such concurrency limit.")
    return DONE


def change_limit(portal: Portal, options: Namespace, screen: Screen) -> int:
    chosen = {"concurrency_limit": options.limit, "is_active": options.is_active}
    changes = {name: value for name, value in chosen.items() if value is not None}
    if not changes:
        screen.warn("Give --limit, --activate or --deactivate.")
        return REFUSED
    made = portal.change_concurrency_limit(
        options.number, options.reason, ticket=options.ticket, confirm=options.confirm, **changes
    )
    return finish_request(portal, made, options, screen)


def create_limit(portal: Portal, options: Namespace, screen: Screen) -> int:
    name = f"tag:{options.name}" if options.tag else options.name
    columns = {"slot_decay_per_second": options.slot_decay, "ticket": options.ticket}
    made = portal.create_concurrency_limit(options.environment, name, options.limit, options.reason, **columns)
    return finish_request(portal, made, options, screen)


def delete_limit(portal: Portal, options: Namespace, screen: Screen) -> int:
    consent = {"ticket": options.ticket, "confirm": options.confirm}
    return finish_request(
        portal, portal.delete_concurrency_limit(options.number, options.reason, **consent), options, screen
    )


def chosen_limits(options: Namespace, **others: Any) -> dict[str, Any]:
    """Return what the command names; what it leaves out stays as it is."""
    limits = {} if options.limit is STAYS else {"concurrency_limit": options.limit}
    named = {name: value for name, value in others.items() if value is not None}
    return {**limits, **named, "ticket": options.ticket, "confirm": options.confirm}
