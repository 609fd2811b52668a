"""Commands of chains: list, save and run them, follow, pause, resume and cut short a run, and decide at its gates."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from .answers import Change
from .backfill_commands import describe_item
from .chain_answers import Chain, ChainPlan, ChainRun, ChainStep
from .client_errors import StillRunning, Unreachable
from .command_parser import (
    DONE,
    REFUSED,
    RUN_FAILED,
    STILL_GOING,
    CommandParser,
    Subparsers,
    add_command,
    add_environment,
    add_parameters,
    add_reason,
    add_wait,
    complain,
    moment,
    parameters,
    read_json,
)
from .portal_api import Portal
from .terminal import Screen


def add_chains(commands: Subparsers) -> None:
    parser = add_command(commands, "chains", chains, "List chains: those of which you see every deployment")
    add_environment(parser)
    parser.add_argument("--ended", action="store_true", help="only those whose end has passed")

    parser = add_command(
        commands, "save-chain", save_chain, "Save a version of a chain, or a new one, from JSON; also renews it"
    )
    add_chain(parser)
    parser.add_argument("definition", metavar="FILE", help="its inputs and steps as JSON")
    parser.add_argument("--description", help="one sentence about it")
    parser.add_argument(
        "--until", type=moment, metavar="TIME", help="its end; by default as late as the policies allow"
    )

    parser = add_command(commands, "run-chain", run_chain, "Request a run of a chain: one request for all its steps")
    add_chain(parser)
    add_parameters(parser)
    parser.add_argument(
        "--profile",
        dest="profiles",
        action="append",
        default=[],
        type=named_profile,
        metavar="STEP=NAME",
        help="resource profile of a step that lets you choose; can be repeated",
    )
    parser.add_argument("--plan", action="store_true", help="show the runs that it would be, and request nothing")
    parser.add_argument("--on-behalf-of", default="", metavar="USER", help="the person you act for")
    add_reason(parser)
    parser.add_argument("--key", default="", help="idempotency key: sent again with it, it is the same request")
    add_wait(parser, "it has ended, or stopped at a failure")

    add_run(add_command(commands, "chain-status", chain_status, "Show where each step of a run of a chain is"))
    for name, function, help_text in (
        ("pause-chain", pause_chain, "Start no more steps of a chain until it is resumed"),
        ("resume-chain", resume_chain, "Go on after a pause, or start the failed steps of a chain again"),
        ("cancel-chain", cancel_chain, "Start no more steps of a chain; what was sent to Prefect goes on"),
    ):
        parser = add_command(commands, name, function, help_text)
        add_run(parser)
        parser.add_argument("--reason", default="", metavar="TEXT", help="why")
    for name, function, help_text in (
        ("let-step-go", let_step_go, "Let a step of a chain start that waits at its gate"),
        ("reject-step", reject_step, "Reject a step of a chain that waits at its gate: it counts as failed"),
    ):
        parser = add_command(commands, name, function, help_text)
        add_run(parser)
        parser.add_argument("step", metavar="STEP", help="name of the step")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why")


def add_chain(parser: CommandParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the chain")
    add_environment(parser, is_required=True)


def add_run(parser: CommandParser) -> None:
    parser.add_argument("number", type=int, metavar="CHANGE", help="number of its change request")


def chains(portal: Portal, options: Namespace, screen: Screen) -> int:
    rows = list(portal.chains(options.environment, ended=True if options.ended else None))
    screen.print_rows(Chain, rows, empty="There are no chains that you can see.")
    return DONE


def save_chain(portal: Portal, options: Namespace, screen: Screen) -> int:
    try:
        definition = read_json(Path(options.definition).read_text())
    except (OSError, ValueError) as error:
        return complain(f"{options.definition} cannot be read as JSON: {error}.")
    if not isinstance(definition, dict):
        return complain(f"{options.definition} must contain one JSON object with steps.")
    saved = portal.save_chain(
        options.environment,
        options.name,
        definition,
        description=options.description,
        valid_until=options.until,
    )
    sentence = (
        f"{saved.name} in {saved.environment} has version {saved.version}, and ends on {saved.valid_until:%Y-%m-%d}."
    )
    screen.print_row(saved, f"{sentence} {saved.url}".strip())
    return DONE


def named_profile(text: str) -> tuple[str, str]:
    step, equals, name = text.partition("=")
    if not step or not equals:
        raise ArgumentTypeError(f"{text} is not STEP=NAME")
    return step, name


def run_chain(portal: Portal, options: Namespace, screen: Screen) -> int:
    profiles = dict(options.profiles)
    if options.plan:
        plan = portal.plan_chain(options.environment, options.name, parameters(options), profiles=profiles)
        screen.print_row(plan, *plan_sentences(plan))
        return REFUSED if plan.refused else DONE
    key = options.key or str(uuid4())
    try:
        run = portal.run_chain(
            options.environment,
            options.name,
            parameters(options),
            profiles=profiles,
            reason=options.reason,
            ticket=options.ticket,
            on_behalf_of=options.on_behalf_of,
            key=key,
        )
    except Unreachable:
        screen.warn(f"The request may have arrived. To send it once all the same, add --key {key} and repeat it.")
        raise
    if not options.wait:
        return show(run, screen)
    late: StillRunning | None = None
    change: Change = portal.change(run.id)
    try:
        with screen.progress(f"Chain request {run.id}"):
            change = portal.wait(change, timeout=options.timeout)
    except StillRunning as error:
        late = error
    show(portal.chain_run(run.id), screen)
    if late:
        screen.warn(str(late))
        return STILL_GOING
    return exit_code(change)


def plan_sentences(plan: ChainPlan) -> Iterator[str]:
    """Yield the runs of a plan, and what they add up to."""
    for step in plan.steps:
        profile = f", resource profile {step.profile.name}" if step.profile else ""
        yield f"{step.key}  {step.deployment}, {'1 run' if step.runs == 1 else f'{step.runs} runs'}{profile}"
        yield from (describe_item(item) for item in step.items if item.values or item.why)
    yield f"At most {plan.runs} runs in {len(plan.steps)} steps, {plan.refused} refused. Nothing was requested."


def exit_code(change: Change) -> int:
    """Return the code of how it ended: one that stopped at a failure did not complete."""
    if change.state == "closed":
        return DONE
    return RUN_FAILED if change.progress == "stopped" else REFUSED


def chain_status(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.chain_run(options.number), screen)


def pause_chain(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.pause_chain(options.number, options.reason), screen)


def resume_chain(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.resume_chain(options.number, options.reason), screen)


def cancel_chain(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.cancel_chain(options.number, options.reason), screen)


def let_step_go(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.let_step_go(options.number, options.step, options.reason), screen)


def reject_step(portal: Portal, options: Namespace, screen: Screen) -> int:
    return show(portal.reject_step(options.number, options.step, options.reason), screen)


def show(run: ChainRun, screen: Screen) -> int:
    screen.print_row(run, *sentences(run))
    return DONE


def sentences(run: ChainRun) -> Iterator[str]:
    """Yield how far a run is, and each step in a line."""
    state = run.progress if run.progress != "running" and run.state == "approved" else run.state
    done = sum(step.outcome == "completed" for step in run.steps)
    yield f"Chain {run.name} in {run.environment}, request {run.id}: {state}, {done} of {len(run.steps)} completed."
    if run.message:
        yield run.message
    for step in run.steps:
        yield describe(step)
    if run.url:
        yield run.url


def describe(step: ChainStep) -> str:
    number = f"request {step.request}" if step.request else ""
    again = f"attempt {step.attempt}" if step.attempt > 1 else ""
    items = f"{step.items_completed} of {step.items} runs completed" if step.items else ""
    profile = f"resource profile {step.profile.name}" if step.profile else ""
    facts = ", ".join(each for each in (items, number, again, profile, step.waits_for) if each)
    return f"  {step.outcome:<10} {step.key:<20} {step.deployment}  {facts}".rstrip()
