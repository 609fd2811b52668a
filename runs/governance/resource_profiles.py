"""Resource profiles: the only code that creates and removes them.

A profile can set everything that a job template leaves open, the image among it. So administrators create them, and in
a protected environment a second one approves each. Removing one takes something away, and counts at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.utils import timezone

from flows import job_variables as variables
from flows.db_text import sanitize
from flows.models import Environment, WorkPool
from flows.parameters import ParameterError
from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import loosening_gate
from runs.governance.configuration import columns, require_administrator
from runs.governance.loosening import Loosening, is_guarded
from runs.governance.rule_changes import Proposal, pass_or_submit
from runs.models import ChangeRequest, ResourceProfile

LONGEST_NAME, LONGEST_DESCRIPTION = 100, 500
# Columns in the audit trail.
PROFILE = [
    "name",
    "description",
    "pool_name",
    "pool_type",
    "work_queue",
    "job_variables",
    "groups",
    "allows_agents",
]


def create(
    environment: Environment,
    *,
    by: Actor,
    name: str,
    job_variables: Mapping[str, Any],
    pool_name: str = "",
    pool_type: str = "",
    work_queue: str = "",
    groups: Sequence[str] = (),
    allows_agents: bool = False,
    description: str = "",
    reason: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> ResourceProfile | ChangeRequest:
    """Create a profile for the runs of a work pool, or of all work pools of a type; for administrators.

    `groups` are those whose members can choose it; none is everyone who can request the run. `confirm` is the typed
    name of a protected environment: there the change request is returned that has to be approved first, and comes again
    as `signed`. Raises `Refused` with code `resource_profile.…`.
    """
    profile = ResourceProfile(
        environment=environment,
        name=sanitize(name.strip()),
        description=sanitize(description.strip()),
        pool_name=pool_name.strip(),
        pool_type=pool_type.strip(),
        work_queue=work_queue.strip(),
        job_variables=dict(job_variables),
        groups=sorted(set(groups)),
        allows_agents=allows_agents,
        created_by_name=by.name,
    )
    about = {"subject_kind": "resourceprofile", "subject_name": profile.name[:LONGEST_NAME]}
    with audit.act("resource_profile.create", None, by=by, reason=reason, environment=environment.slug, **about) as act:
        # 1. Who may, and whether it could be used.
        require_administrator(by)
        require_valid(profile)
        # 2. A protected environment: whatever it sets, runs can have it that could not before.
        found = loosenings(profile)
        proposal = Proposal(
            subject_id="",
            subject_name=f"resource profile {profile} in {environment}",
            before={},
            after=columns(profile, [*PROFILE, "environment_id"]),
        )
        if waiting := pass_or_submit(found, act, proposal, confirm=confirm, signed=signed):
            return waiting
        # A savepoint: after an IntegrityError the audit entry could not be written otherwise.
        try:
            with transaction.atomic():
                profile.save(force_insert=True)
        except IntegrityError as error:
            raise Refused(
                "name.taken", f"A {profile._meta.verbose_name} named {profile} already exists.", name=profile.name
            ) from error
        act.subject, act.after = profile, columns(profile, PROFILE)
        loosening_gate.record_and_notify(found, act, signed)
    return profile


def remove(profile: ResourceProfile, *, by: Actor, reason: str = "") -> None:
    """Remove a profile: what was requested with it and was not launched yet is refused at its launch."""
    with audit.act(
        "resource_profile.remove", profile, by=by, reason=reason, environment=profile.environment.slug
    ) as act:
        require_administrator(by)
        locked = ResourceProfile.objects.select_for_update().get(pk=profile.pk)
        if locked.removed_at:
            raise Refused(
                "resource_profile.removed", f"{locked.removed_by_name} has removed this resource profile already."
            )
        act.before = columns(locked, PROFILE)
        locked.removed_at, locked.removed_by_name = timezone.now(), by.name
        locked.save()


def loosenings(profile: ResourceProfile) -> list[Loosening]:
    """Return what a new profile opens in a protected environment."""
    if not is_guarded(profile.environment):
        return []
    what = f"resource profile {profile} for {profile.place}"
    return [Loosening("resource_profile.created", profile.environment.slug, what)]


# Checks ---------------------------------------------------------------------------------------------------------------


def require_valid(profile: ResourceProfile) -> None:
    """Refuse a profile that no run could have, and one with values that may be secret."""
    if not 0 < len(profile.name) <= LONGEST_NAME or len(profile.description) > LONGEST_DESCRIPTION:
        raise Refused(
            "resource_profile.name",
            f"A resource profile has a name of 1 to {LONGEST_NAME} characters, and a description of at most "
            f"{LONGEST_DESCRIPTION}.",
        )
    if not profile.job_variables and not profile.work_queue:
        raise Refused("resource_profile.empty", "Set at least one job variable or a work queue.")
    require_groups(profile.groups)
    for pool in require_pools(profile):
        require_fits(profile, pool)
    if variables.has_placeholder(profile.job_variables):
        raise Refused(
            "resource_profile.placeholder",
            "A job variable contains {{, which Prefect would replace when the run starts. Enter the value itself.",
        )


def require_groups(names: Sequence[str]) -> None:
    known = set(Group.objects.filter(name__in=names).values_list("name", flat=True))
    if unknown := [name for name in names if name not in known]:
        raise Refused(
            "resource_profile.group", f"There is no group {unknown[0]}. Choose another one.", group=unknown[0]
        )


def require_pools(profile: ResourceProfile) -> list[WorkPool]:
    """Return the pools that a profile is for; refuse one that is for none, and a work queue that is not there."""
    if bool(profile.pool_name) == bool(profile.pool_type):
        raise Refused("resource_profile.pool", "Choose a work pool, or a type of work pools.")
    where = {"name": profile.pool_name} if profile.pool_name else {"type": profile.pool_type}
    found = list(WorkPool.current.filter(environment=profile.environment, **where).order_by("name"))
    if not found:
        raise Refused("resource_profile.pool", f"There is no {profile.place} in {profile.environment}.")
    if profile.work_queue and not profile.pool_name:
        raise Refused("resource_profile.queue", "Choose the work pool too: a work queue belongs to one.")
    return found


def require_fits(profile: ResourceProfile, pool: WorkPool) -> None:
    """Refuse job variables that the template of a pool does not have or accept, and a queue that it does not have."""
    if errors := variables.errors_of(pool.variables, profile.job_variables):
        raise Refused(
            "resource_profile.variables",
            f"The job variables do not fit work pool {pool}. {' '.join(describe(error) for error in errors[:5])}",
            variables=[error.field for error in errors],
        )
    # Prefect would create a queue that it does not know, and no worker asks for its runs.
    if profile.work_queue and not pool.queues.filter(name=profile.work_queue, deleted_upstream_at=None).exists():
        raise Refused("resource_profile.queue", f"Work pool {pool} has no work queue {profile.work_queue}.")
    if variables.may_be_secret(pool.variables, profile.job_variables):
        raise Refused(
            "resource_profile.secret",
            "Environment variables, and values that may be secret, cannot be part of a resource profile: everyone who "
            "sees the environment sees it. Set them in the work pool or in the deployment.",
        )


def describe(error: ParameterError) -> str:
    """Return an error about a job variable in words."""
    if error.code == "parameter.unknown" and len(error.path) == 1:
        return f"{error.field}: the work pool has no such job variable."
    return str(error)
