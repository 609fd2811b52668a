"""Save chains and their versions, and request runs of them.

Defining a chain is not running it: its steps run with the grants of the person who requests it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from flows import canonical
from flows.db_text import sanitize
from flows.models import Deployment, Environment
from runs import audit, queue, requests
from runs.access.decisions import Forbidden, Permissions, Target
from runs.access.whole_chains import sees_whole_chain
from runs.actors import Actor
from runs.automation import chain_definition, ends
from runs.automation.chain_checks import require_runnable
from runs.automation.chain_definition import Definition
from runs.automation.chain_items import require_each
from runs.automation.chain_specs import outline
from runs.automation.renewals import note_obstacles
from runs.changes.states import ChangeState
from runs.errors import Refused
from runs.models import Chain, ChainRun, ChainStep, ChainVersion, ChangeRequest, RunSpec, Verb
from runs.models.chain import LONGEST_NAME

LONGEST_DESCRIPTION = 500


# Define ---------------------------------------------------------------------------------------------------------------


def save(
    environment: Environment,
    name: str,
    definition: Any,
    *,
    by: Actor,
    chain: Chain | None = None,
    description: str = "",
    valid_until: datetime | None = None,
) -> ChainVersion:
    """Save a new chain, or a version of one; the definition that it has already is no new version.

    Who saves it is its owner from then on. It ends at `valid_until`, by default as late as the policies allow. Raises
    `Forbidden` without permission to run all its deployments, or `Refused` with code `chain.…`.
    """
    verb = "chain.change" if chain else "chain.create"
    with audit.act(verb, chain, by=by, subject_kind="chain", subject_name=name, environment=environment.slug) as act:
        require_not_agent(by)
        permissions = Permissions.of(by)
        name, description = require_name(name), sanitize(description.strip())[:LONGEST_DESCRIPTION]
        if chain:
            chain = lock_chain(chain)
            # The steps that are replaced need the same permission as new ones.
            for step in current_steps(chain):
                permissions.require(Verb.TRIGGER, step.deployment)
        found = chain_definition.read(definition)
        by_key = require_runnable(found, environment, permissions, by)
        until = end_of(list(by_key.values()), valid_until, chain)
        columns = {"name": name, "description": description, "owner": owner_of(by), "valid_until": until}
        stored = insert_chain(environment, by, columns) if chain is None else chain
        before = describe(stored)
        newest = stored.versions.order_by("-number").first()
        digest = canonical.digest(found.stored)
        if newest and newest.digest == digest and all(getattr(stored, key) == value for key, value in columns.items()):
            act.is_repeat = True
            return newest
        if newest is None or newest.digest != digest:
            newest = insert_version(stored, found, digest, by_key, by)
        update(stored, {**columns, "number": newest.number, "reminded_at": None, "obstacle": ""})
        act.subject, act.subject_kind, act.subject_name = stored, "", ""
        act.before = before if chain else {}
        act.after = {**describe(stored), "digest": digest, "definition": newest.definition}
    return newest


def owner_of(by: Actor) -> User:
    """Return who answers for what an actor saves: of a service account its owner."""
    return by.owner or by.user


def end_of(deployments: Sequence[Deployment], wanted: datetime | None, chain: Chain | None) -> datetime:
    """Return the end of a chain that is saved: the given one, else the latest possible; raises `Refused`.

    A program that saves the same chain every hour renews it once a day.
    """
    found = ends.end_of(deployments, wanted)
    is_near = wanted is None and chain is not None and timedelta(0) <= found - chain.valid_until < timedelta(days=1)
    return chain.valid_until if chain and is_near else found


def describe(chain: Chain) -> dict[str, Any]:
    """Return the chain for the audit trail, without its definition."""
    return {
        "name": chain.name,
        "version": chain.number,
        "description": chain.description,
        "owner": chain.owner.get_username(),
        "valid_until": chain.valid_until,
    }


def update(chain: Chain, columns: Mapping[str, Any]) -> None:
    """Set columns of a chain; raises `Refused` if another one has its name."""
    for name, value in columns.items():
        setattr(chain, name, value)
    try:
        with transaction.atomic():
            chain.save(update_fields=list(columns))
    except IntegrityError:
        raise taken(chain.name, chain.environment) from None


def note_reminders(keys: Collection[int]) -> int:
    """Note that the owners of chains were notified of their end."""
    return Chain.objects.filter(pk__in=keys).update(reminded_at=timezone.now())


def note_checked(obstacles: Mapping[int, str]) -> list[int]:
    """Note what prevents the runs of enabled chains; returns those of which nothing did before."""
    return note_obstacles(Chain.objects.filter(is_enabled=True), obstacles)


def require_may_define(environment: Environment, *, by: Actor) -> None:
    """Refuse people who can run nothing in an environment, before their input is read; the refusal is recorded."""
    permissions = Permissions.of(by)
    if not permissions.deployments(Verb.TRIGGER).filter(environment=environment).exists():
        with audit.act("chain.create", None, by=by, subject_kind="chain", environment=environment.slug):
            raise Forbidden(permissions.decide(Verb.TRIGGER, Target.whole(environment)))


def require_name(name: str) -> str:
    name = sanitize(name.strip())
    if not name or len(name) > LONGEST_NAME or "/" in name:
        raise Refused("chain.name", f"A chain needs a name of at most {LONGEST_NAME} characters, without a slash.")
    return name


def require_not_agent(by: Actor) -> None:
    """Refuse agents: what a chain does is defined by people."""
    if by.agent:
        raise Refused("chain.agent", "Agents do not define chains, and decide nothing about their runs. A person can.")


def insert_chain(environment: Environment, by: Actor, columns: Mapping[str, Any]) -> Chain:
    try:
        with transaction.atomic():
            return Chain.objects.create(environment=environment, created_by_name=by.name, **columns)
    except IntegrityError:
        raise taken(columns["name"], environment) from None


def taken(name: str, environment: Environment) -> Refused:
    return Refused("chain.taken", f"There is a chain “{name}” in {environment} already. Choose another name.")


def insert_version(
    chain: Chain, found: Definition, digest: str, by_key: Mapping[str, Deployment], by: Actor
) -> ChainVersion:
    version = ChainVersion.objects.create(
        chain=chain, number=chain.number + 1, definition=found.stored, digest=digest, saved_by_name=by.name
    )
    ChainStep.objects.bulk_create(
        ChainStep(version=version, position=position, key=step.key, deployment=by_key[step.key])
        for position, step in enumerate(found.steps)
    )
    return version


def set_enabled(chain: Chain, is_enabled: bool, *, by: Actor, reason: str = "") -> None:
    """Enable a chain, or disable it: then nothing of it can be requested, and no step of it starts."""
    verb = "chain.enable" if is_enabled else "chain.disable"
    with audit.act(verb, chain, by=by, reason=reason, environment=chain.environment.slug) as act:
        require_not_agent(by)
        stored, permissions = lock_chain(chain), Permissions.of(by)
        for step in current_steps(stored):
            permissions.require(Verb.TRIGGER, step.deployment)
        act.before, act.after = {"is_enabled": stored.is_enabled}, {"is_enabled": is_enabled}
        stored.is_enabled = is_enabled
        stored.save(update_fields=["is_enabled"])


def lock_chain(chain: Chain) -> Chain:
    return Chain.objects.select_for_update(of=["self"]).select_related("environment", "owner").get(pk=chain.pk)


# Run ------------------------------------------------------------------------------------------------------------------


def request_run(
    chain: Chain,
    inputs: Mapping[str, Any],
    *,
    by: Actor,
    profiles: Mapping[str, str] | None = None,
    displayed_version: int | None = None,
    displayed_plan: str = "",
    reason: str = "",
    ticket: str = "",
    on_behalf_of: User | None = None,
    submission_key: uuid.UUID | None = None,
) -> ChangeRequest:
    """Submit one change request for a run of the chain as it is now, or as version `displayed_version` was.

    `profiles` are the resource profiles of steps that let the requester choose, blank for none. `displayed_plan` is the
    digest of the plan that the requester saw; blank for whatever it is now. Its first steps start at once, or after the
    approvals. Raises `Forbidden`, `flows.parameters.Invalid` or `Refused`.
    """
    with audit.act(
        "request.submit", chain, by=by, reason=reason, ticket=ticket, environment=chain.environment.slug
    ) as act:
        chain = Chain.objects.select_related("environment", "owner").get(pk=chain.pk)
        require_version(chain, displayed_version)
        found = outline(chain, inputs, profiles or {}, by=by)
        if displayed_plan not in ("", found.digest):
            raise Refused(
                "chain.plan_changed",
                f"The plan has changed since it was displayed: it now has {found.runs} runs. Review it again.",
                runs=found.runs,
            )
        permissions = Permissions.of(by)
        for each in found.steps:
            if each.step.over:
                require_each(each.step, each.deployment, each.fixed, each.items, permissions)
        # The entry is that of the submission.
        act.is_repeat = True
        change = requests.submit_change(
            [each.spec for each in found.steps],
            by=by,
            kind=ChangeRequest.Kind.CHAIN,
            reason=reason,
            ticket=ticket,
            on_behalf_of=on_behalf_of,
            submission_key=submission_key,
            chain_run=ChainRun(version=found.version, inputs=found.public_inputs),
        )
        if change.state == ChangeState.APPROVED:
            queue.enqueue("runs.tasks.advance_chain", change.pk)
        return change


def require_version(chain: Chain, displayed: int | None) -> None:
    """Refuse another version than the one that was displayed; None is any."""
    if displayed not in (None, chain.number):
        raise Refused(
            "chain.version_changed",
            f"{chain} has changed since it was displayed: it now has version {chain.number}. Review it again.",
            version=chain.number,
        )


# Queries --------------------------------------------------------------------------------------------------------------


def visible(permissions: Permissions) -> Q:
    """Return the condition for the chains whose deployments, of the newest version, the person sees all."""
    newest = ChainStep.objects.filter(version__chain=OuterRef("pk"), version__number=OuterRef("number"))
    seen = permissions.q(Verb.SEE, deployment="deployment__", base="deployment__")
    hidden = newest.exclude(pk__in=ChainStep.objects.filter(seen).values("pk"))
    return Exists(newest) & ~Exists(hidden)


def visible_to(permissions: Permissions) -> QuerySet[Chain]:
    return Chain.objects.filter(visible(permissions)).select_related("environment", "owner")


def current_steps(chain: Chain) -> Sequence[ChainStep]:
    found = ChainStep.objects.filter(version__chain=chain, version__number=F("version__chain__number"))
    return list(found.select_related("deployment__environment").order_by("position"))


def steps_of_enabled() -> QuerySet[ChainStep]:
    """Return the steps of the newest versions of enabled chains, with their owners."""
    found = ChainStep.objects.filter(version__number=F("version__chain__number"), version__chain__is_enabled=True)
    related = ("version__chain__owner", "version__chain__environment", "deployment__environment")
    return found.select_related(*related).defer("version__definition")


def runs_of(chain: Chain, permissions: Permissions) -> QuerySet[ChangeRequest]:
    """Return the runs of a chain that the person sees, the newest first."""
    # With what decides about their inputs, but not the schemas, which are large.
    specs = RunSpec.objects.select_related("deployment__environment").defer(
        *("definition", "deployment__parameter_schema", "deployment__parameter_defaults", "deployment__definition")
    )
    found = ChangeRequest.objects.filter(sees_whole_chain(permissions), chain_run__version__chain=chain)
    return found.select_related("chain_run__version").prefetch_related(Prefetch("specs", specs)).order_by("-pk")


def sees_inputs(change: ChangeRequest, permissions: Permissions) -> bool:
    """Return whether a person can view the inputs: as the requester, or with permission for every step.

    Prefetch the specs with their deployments and environments.
    """
    if permissions.user.pk == change.requested_by_id:
        return True
    return all(permissions.decide(Verb.SEE_INPUTS, spec.deployment).allowed for spec in change.specs.all())
