"""Save, change, find and delete presets: the only code that writes `Preset`.

A preset holds no secret, and grants nothing: whoever loads it is checked as if they had typed its values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.db.models.functions import Now

from flows import parameters as schemas
from flows.models import Deployment, Environment
from flows.parameters import Invalid, ParameterError
from flows.wording import listed
from runs import audit
from runs.access.decisions import Forbidden, Permissions, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.models import Preset
from runs.names import NotVisible
from runs.requests import profile_rules
from runs.requests.preset_listings import PRESETS
from runs.requests.rules import require_storable, require_submittable

LONGEST_NAME = 100
# Of one person for one deployment: beyond that a list is no help.
MOST_PRESETS = 50
# Far more than people type; a run may have 512 kB, but presets are kept for ever.
LARGEST = 64 * 1024
# How many names an error lists.
MOST_NAMED = 10


def save(
    deployment: Deployment,
    values: Mapping[str, Any],
    *,
    by: Actor,
    name: str,
    is_shared: bool = False,
    profile: str = "",
) -> Preset:
    """Save values as a preset of the actor, with the name of a resource profile; secret parameters are left out.

    Required values may be missing. Raises `Forbidden`, `Refused`, or `Invalid` for values that the deployment does not
    accept.
    """
    name = name.strip()
    with audit.act(
        "preset.create",
        None,
        by=by,
        subject_kind="preset",
        subject_name=name,
        environment=deployment.environment.slug,
    ) as act:
        # Sharing needs no more: whoever can run the deployment can tell others what to run it with.
        require_start(Permissions.of(by), Target.of(deployment))
        require_submittable(deployment, scheduled_for=None)
        owner = lock(by.user)
        require_name(name)
        own = Preset.objects.filter(owner=owner, environment=deployment.environment, full_name=deployment.full_name)
        require_unused(own, name)
        if own.count() >= MOST_PRESETS:
            raise Refused(
                "preset.too_many",
                f"You have {MOST_PRESETS} presets of {deployment} in {deployment.environment}, which is the limit. "
                "Delete one first.",
                limit=MOST_PRESETS,
            )
        if profile:
            profile = profile_rules.frozen(deployment, profile, by)["name"]
        preset = Preset(
            environment=deployment.environment,
            full_name=deployment.full_name,
            name=name,
            owner=owner,
            is_shared=is_shared,
            parameters=storable(deployment, values),
            profile=profile,
            schema_fingerprint=deployment.schema_fingerprint,
        )
        preset.save(force_insert=True)
        act.subject, act.after = preset, describe(preset)
        return preset


def change(
    preset: Preset,
    *,
    by: Actor,
    name: str | None = None,
    is_shared: bool | None = None,
    deployment: Deployment | None = None,
    values: Mapping[str, Any] | None = None,
) -> Preset:
    """Rename a preset, share it or stop sharing it, or replace its values, which are those of `deployment`.

    Only its owner can. Raises `Forbidden`, `Refused` or `Invalid`.
    """
    with audit.act("preset.change", preset, by=by, environment=preset.environment.slug) as act:
        lock(by.user)
        preset = locked(preset)
        require_own(preset, by)
        before = describe(preset)
        permissions = Permissions.of(by)
        if is_shared or values is not None or by.scope is not None:
            require_start(permissions, target_of(preset))
        if name is not None and name.strip() != preset.name:
            preset.name = name.strip()
            require_name(preset.name)
            require_unused(
                Preset.objects.filter(owner=preset.owner, environment=preset.environment, full_name=preset.full_name),
                preset.name,
            )
        if is_shared is not None:
            preset.is_shared = is_shared
        if values is not None and deployment is not None:
            preset.parameters = storable(deployment, values)
            preset.schema_fingerprint = deployment.schema_fingerprint
        preset.changed_at = Now()
        preset.save()
        preset.refresh_from_db()
        act.subject = preset
        act.before, act.after = difference(before, describe(preset))
        # Saved as it was: nothing happened.
        act.is_repeat = not act.after
        return preset


def delete(preset: Preset, *, by: Actor) -> None:
    """Delete a preset: its owner can, and an administrator one that is shared."""
    subject = {"subject_kind": "preset", "subject_id": str(preset.pk), "subject_name": preset.name}
    with audit.act("preset.delete", None, by=by, environment=preset.environment.slug, **subject) as act:
        preset = locked(preset)
        if not (preset.is_shared and by.is_administrator):
            require_own(preset, by)
        if by.scope is not None:
            require_start(Permissions.of(by), target_of(preset))
        act.before = describe(preset)
        preset.delete()


# Find and load --------------------------------------------------------------------------------------------------------


def of_deployment(deployment: Deployment, *, by: Actor, permissions: Permissions | None = None) -> list[Preset]:
    """Return the presets of a deployment that the actor sees, their own first."""
    found = PRESETS.rows(by, permissions=permissions).filter(
        environment=deployment.environment_id, full_name=deployment.full_name
    )
    return sorted(found, key=lambda preset: (not by.is_same_person_as(preset.owner_id), preset.name.casefold()))


def find(deployment: Deployment, name: str, *, by: Actor) -> Preset:
    """Return a preset of a deployment by name: the actor's own, else a shared one of which there is one.

    Raises `NotVisible`, or `Refused` where several people share one of this name.
    """
    visible = of_deployment(deployment, by=by)
    found = [preset for preset in visible if preset.name == name]
    own = [preset for preset in found if by.is_same_person_as(preset.owner_id)]
    if own or len(found) == 1:
        return (own or found)[0]
    if found:
        owners = [preset.owner.get_username() for preset in found]
        raise Refused(
            "preset.ambiguous",
            f"{listed(owners, MOST_NAMED)} share a preset {name} of {deployment}. Save one of them under a name of "
            "your own.",
            owners=owners,
        )
    known = [preset.name for preset in visible]
    there_are = f"There are: {listed(known, MOST_NAMED)}." if known else "There are none that you can see."
    raise NotVisible("preset.unknown", f"{deployment} has no preset {name}. {there_are}", preset=name)


def load(preset: Preset, deployment: Deployment) -> tuple[dict[str, Any], list[str]]:
    """Return the values as the deployment is now, and the names of those that have become secret since.

    Such a value is not used: it would be a secret that was stored in clear text. Names that the deployment does not
    have any more stay, so that the form reports them.
    """
    properties = deployment.parameter_schema.get("properties", {})
    known = {name: value for name, value in preset.parameters.items() if name in properties}
    public, secret = schemas.split(deployment.parameter_schema, known)
    unknown = {name: value for name, value in preset.parameters.items() if name not in properties}
    return {**public, **unknown}, [pointer.removeprefix("/") for pointer in secret]


def errors_of(
    deployment: Deployment, values: Mapping[str, Any], schema: Mapping[str, Any] | None = None
) -> list[ParameterError]:
    """Return what is wrong with values that are not complete: what is missing is no error, what is there can be.

    `schema` may be narrower than the deployment's.
    """
    try:
        schemas.validate(schema or deployment.parameter_schema, values, defaults=deployment.parameter_defaults)
    except Invalid as invalid:
        return [error for error in invalid.errors if not error.path or error.path[0] in values]
    return []


# Checks ---------------------------------------------------------------------------------------------------------------


def storable(deployment: Deployment, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a preset keeps; raises `Invalid` for those that a run could not have."""
    if errors := errors_of(deployment, values):
        raise Invalid(*errors)
    public, _ = schemas.split(deployment.parameter_schema, values)
    if (size := len(json.dumps(public))) > LARGEST:
        raise Refused(
            "preset.too_large",
            f"The values are {size / 1024:,.0f} kB; a preset has at most {LARGEST // 1024} kB.",
            limit=LARGEST,
        )
    return public


def require_start(permissions: Permissions, target: Target) -> None:
    decision = permissions.start(target)
    if not decision:
        raise Forbidden(decision)


def require_name(name: str) -> None:
    if not name:
        raise Refused("preset.name_required", "Enter a name for the preset.")
    require_storable("name of the preset", name, LONGEST_NAME)


def require_unused(own: QuerySet[Preset], name: str) -> None:
    if own.filter(name=name).exists():
        raise Refused("preset.taken", f"You already have a preset {name} of this deployment. Choose another name.")


def require_own(preset: Preset, by: Actor) -> None:
    if not by.is_same_person_as(preset.owner_id):
        raise Refused("preset.not_own", f"{preset} is a preset of {preset.owner}. Save a copy to change it.")


def lock(user: User) -> User:
    """Lock a person: two saves at once must not both pass the limit, or take one name."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def locked(preset: Preset) -> Preset:
    found = Preset.objects.select_for_update(of=["self"]).select_related("environment", "owner").filter(pk=preset.pk)
    if (row := found.first()) is None:
        raise NotVisible("preset.unknown", f"The preset {preset} has been deleted.", preset=preset.name)
    return row


def target_of(preset: Preset) -> Target:
    """Return what grants are matched against, also while the deployment is not deployed."""
    named = Deployment.objects.filter(environment=preset.environment_id, full_name=preset.full_name)
    tags: Sequence[str] = named.order_by("-synced_at").values_list("tags", flat=True).first() or ()
    environment: Environment = preset.environment
    return Target(environment, preset.full_name.partition("/")[0], preset.full_name, tuple(tags))


def describe(preset: Preset) -> dict[str, Any]:
    return {
        "deployment": preset.full_name,
        "name": preset.name,
        "shared": preset.is_shared,
        "parameters": preset.parameters,
        "profile": preset.profile,
    }


def difference(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    changed = [name for name in after if before[name] != after[name]]
    return {name: before[name] for name in changed}, {name: after[name] for name in changed}
