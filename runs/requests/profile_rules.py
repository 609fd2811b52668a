"""The resource profile of a run: which can be chosen, what is frozen of it, and whether it still holds at the launch.

A profile needs no verb of its own: it is a way to run what can be run anyway, so the permission is that for the run.
Who of those can choose it is the list of groups on the profile, where the administrator who creates it sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import User

from flows import canonical
from flows.db_text import sanitize
from flows.models import Deployment, WorkPool
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.resource_profiles import require_fits
from runs.models import ResourceProfile, RunRequest
from runs.requests.spec import Spec
from runs.shared_reads import shared

# (key of the deployment, name of the profile) -> what is frozen of it
type Chosen = Mapping[tuple[int, str], dict[str, Any]]


def offered(deployment: Deployment, by: Actor) -> list[ResourceProfile]:
    """Return the profiles that the actor can choose for a run of a deployment; at most four queries."""
    return offered_for([deployment], by)[deployment.pk]


def offered_for(deployments: Iterable[Deployment], by: Actor) -> dict[int, list[ResourceProfile]]:
    """Return the profiles that the actor can choose for runs of deployments of one environment, by their keys."""
    wanted = {each.pk: each for each in deployments}
    environments = {each.environment_id for each in wanted.values()}
    if not (allowed := choosable(environments, by)):
        return {pk: [] for pk in wanted}
    names = {each.work_pool_name for each in wanted.values()}
    pools = {pool.name: pool for pool in WorkPool.current.filter(environment__in=environments, name__in=names)}
    # Once for each pool: many steps of a chain share one.
    by_pool = {name: [profile for profile in allowed if fits(profile, pool)] for name, pool in pools.items()}
    return {pk: by_pool.get(each.work_pool_name, []) for pk, each in wanted.items()}


def choosable(environments: Iterable[int], by: Actor) -> list[ResourceProfile]:
    """Return the profiles of environments that the actor can choose for some run."""
    found = list(ResourceProfile.objects.filter(environment__in=environments, removed_at=None))
    groups = groups_of(by.user) if any(profile.groups for profile in found) else frozenset()
    is_agent = by.agent is not None
    return [profile for profile in found if is_allowed(profile, groups, is_agent=is_agent)]


def chosen(specs: Iterable[Spec], by: Actor) -> Chosen:
    """Return what each spec freezes of its profile; raises `Refused` for one that cannot be chosen."""
    wanted = {(spec.deployment.pk, spec.profile): spec for spec in specs if spec.profile}
    return {key: frozen(spec.deployment, spec.profile, by) for key, spec in wanted.items()}


def frozen(deployment: Deployment, name: str, by: Actor) -> dict[str, Any]:
    profile = find(deployment, name)
    require_allowed(profile, by.user, is_agent=by.agent is not None)
    require_place(profile, deployment)
    return profile.contents


def require_still_valid(run_request: RunRequest) -> None:
    """Refuse a run whose profile is gone or has changed, that its requester can no longer choose, or that fits no more.

    Within `shared_reads` it is asked once for the runs of one change request that have the same profile.
    """
    spec, change = run_request.spec, run_request.change
    if spec.profile:
        key = ("profile", change.pk, spec.deployment_id, canonical.text(spec.profile))
        shared(key, lambda: require_valid_now(run_request))


def require_valid_now(run_request: RunRequest) -> None:
    spec, change = run_request.spec, run_request.change
    profile = find(run_request.deployment, spec.profile_name)
    if not canonical.same(profile.contents, spec.profile):
        raise Refused(
            "resource_profile.changed",
            f"The resource profile {profile} was replaced after the request. Submit a new request.",
            profile=profile.name,
        )
    if change.requested_by:
        require_allowed(profile, change.requested_by, is_agent=change.agent_id is not None)
    require_place(profile, run_request.deployment)


def find(deployment: Deployment, name: str) -> ResourceProfile:
    # A form can send any text as a name; Postgres refuses some of it.
    rows = ResourceProfile.objects.filter(environment=deployment.environment_id, removed_at=None)
    profile = rows.filter(name=sanitize(name)).first()
    if profile is None:
        raise Refused(
            "resource_profile.gone",
            f"There is no resource profile {name} in {deployment.environment}. Choose another one, or none.",
            profile=name,
        )
    return profile


def require_allowed(profile: ResourceProfile, user: User, *, is_agent: bool) -> None:
    groups = groups_of(user) if profile.groups else frozenset()
    if is_allowed(profile, groups, is_agent=is_agent):
        return
    if is_agent and not profile.allows_agents:
        why = "It is not for AI agents."
    else:
        why = f"It is for members of {', '.join(profile.groups)}."
    raise Refused(
        "resource_profile.not_allowed",
        f"{user.get_username()} cannot choose the resource profile {profile}. {why}",
        profile=profile.name,
    )


def is_allowed(profile: ResourceProfile, groups: frozenset[str], *, is_agent: bool) -> bool:
    if is_agent and not profile.allows_agents:
        return False
    return not profile.groups or not groups.isdisjoint(profile.groups)


def groups_of(user: User) -> frozenset[str]:
    return frozenset(user.groups.values_list("name", flat=True))


def require_place(profile: ResourceProfile, deployment: Deployment) -> None:
    """Refuse a profile for other work pools, and one that the template of the pool does not accept any more."""
    pool = pool_of(deployment)
    if pool is None or not is_for(profile, pool):
        where = f"runs in work pool {pool}" if pool else "runs in no work pool"
        raise Refused(
            "resource_profile.other_pool",
            f"The resource profile {profile} is for {profile.place}, and {deployment} {where}.",
            profile=profile.name,
        )
    require_fits(profile, pool)


def pool_of(deployment: Deployment) -> WorkPool | None:
    return WorkPool.current.filter(environment=deployment.environment_id, name=deployment.work_pool_name).first()


def is_for(profile: ResourceProfile, pool: WorkPool) -> bool:
    return pool.name == profile.pool_name if profile.pool_name else pool.type == profile.pool_type


def fits(profile: ResourceProfile, pool: WorkPool) -> bool:
    if not is_for(profile, pool):
        return False
    try:
        require_fits(profile, pool)
    except Refused:
        return False
    return True
