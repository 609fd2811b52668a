"""Commands of work pools and their queues."""

from __future__ import annotations

from argparse import Namespace

from .command_parser import DONE, REFUSED, Subparsers, add_command, add_environment
from .pool_answers import WorkPool, WorkQueue
from .portal_api import Portal
from .terminal import Screen


def add_pools(commands: Subparsers) -> None:
    parser = add_command(commands, "pools", pools, "List work pools, or show the queues of one")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="show this one; needs -e")
    add_environment(parser)


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
