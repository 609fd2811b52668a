"""What is required of a request before it is submitted, and before a form for it is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from flows import encryption
from flows import parameters as schemas
from flows.db_text import sanitize
from flows.models import Deployment
from flows.wording import deployment_name
from runs import audit
from runs.access.decisions import Forbidden, Permissions, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import windows
from runs.governance.in_scope import require_in_scope
from runs.governance.requirements import Requirements
from runs.models import RunRequest, Verb
from runs.models.request import State

# A leap year, so that the same day next year is always possible.
MAX_AHEAD = timedelta(days=366)
MAX_TAGS = 50
# How far the clocks of the requester and of the server may differ.
SLACK = timedelta(minutes=2)


def has_passed(scheduled_for: datetime) -> bool:
    return scheduled_for < timezone.now() - SLACK


def require_future(scheduled_for: datetime | None) -> None:
    """Refuse a start time that has passed: when a run is requested, not when it is launched."""
    if scheduled_for and has_passed(scheduled_for):
        raise Refused("start.past", "This start time has passed. Choose a later time, or start the run now.")


def is_later(scheduled_for: datetime | None) -> bool:
    return scheduled_for is not None and scheduled_for > timezone.now()


def require_submittable(deployment: Deployment, *, scheduled_for: datetime | None) -> None:
    """Refuse what does not depend on the requester. Checked again at launch."""
    environment = deployment.environment
    if not environment.is_active:
        raise Refused(
            "environment.inactive", f"{environment} is disabled in the portal. No runs can be requested there."
        )
    if deployment.deleted_upstream_at:
        raise Refused(
            "deployment.gone",
            f"{deployment} is no longer deployed in {environment}. Deploy it again or choose another deployment.",
        )
    require_in_scope(deployment)
    if scheduled_for and scheduled_for > timezone.now() + MAX_AHEAD:
        raise Refused("start.too_far", "A run can be scheduled at most one year ahead.")


def require_start_allowed(deployment: Deployment, *, by: Actor) -> None:
    """Refuse people who cannot request runs, before their input is read; the refusal is recorded."""
    decision = Permissions.of(by).start(deployment)
    if not decision:
        with audit.act("request.submit", deployment, by=by):
            raise Forbidden(decision)


def require_start_window(
    run_request: RunRequest, requirements: Requirements, permissions: Permissions, *, overrides: bool
) -> None:
    """Refuse a start outside change windows if the policy does; otherwise note on the request that it is held."""
    now = timezone.now()
    standing = windows.standing(Target.of(run_request.deployment), max(run_request.scheduled_for or now, now))
    if standing:
        return
    if overrides:
        permissions.require(Verb.OVERRIDE_FREEZE, run_request.deployment)
        if not run_request.change.reason:
            raise Refused("window.reason_required", "Give a reason for starting outside the change window.")
        run_request.overridden_at, run_request.overridden_by_name = now, run_request.change.requested_by_name
        run_request.message = f"Change window overridden: {standing.sentence}"
    elif requirements.refuse_outside_window:
        raise Refused("window.closed", f"{standing.sentence} Request a start within a permitted time.")
    elif run_request.state == State.APPROVED:
        run_request.message = standing.sentence


def require_rerun_allowed(run_request: RunRequest, deployment: Deployment, permissions: Permissions) -> None:
    """Refuse a re-run for another deployment, or of another person's request without the verb `rerun`.

    A re-run reuses secret values. So `rerun` is required whatever the start time: `trigger later` must not be a way to
    use someone else's secrets.
    """
    if (run_request.environment_id, run_request.spec.deployment_name) != (
        deployment.environment_id,
        deployment.full_name,
    ):
        where = f"{deployment_name(run_request.spec.deployment_name)} in {run_request.change.environment_name}"
        raise Refused(
            "rerun.other_deployment", f"Request {run_request.pk} was for {where} and cannot be re-run elsewhere."
        )
    if permissions.user.pk != run_request.change.requested_by_id:
        permissions.require(Verb.RERUN, deployment)


def require_secrets_hidden(run_request: RunRequest, public: Mapping[str, Any]) -> None:
    """Refuse to repeat a secret that the deployment's schema has stopped marking: it would be stored in clear text."""
    sealed = run_request.spec.sealed_parameters
    if not sealed:
        return
    if names := schemas.exposed(json.loads(encryption.unseal(sealed)), public):
        spelled = ", ".join(name.removeprefix("/") for name in names)
        raise Refused(
            "rerun.secret_exposed",
            f"Request {run_request.pk} has secret values that its deployment no longer treats as secret: {spelled}. "
            "Submit a new request and enter them again.",
            parameters=names,
        )


def can_view_own(permissions: Permissions, run_request: RunRequest) -> bool:
    """Return whether the person can view the values of a request; if not, its re-run hides them from the person too."""
    if permissions.user.pk == run_request.change.requested_by_id and not run_request.spec.is_blind:
        return True
    return bool(permissions.decide(Verb.SEE_INPUTS, run_request.deployment))


def validate_text(reason: str, ticket: str) -> None:
    """Refuse a reason or ticket that cannot be stored."""
    for what, text, longest in [("reason", reason, 1000), ("ticket", ticket, 100)]:
        require_storable(what, text, longest)


def validate_run_text(run_name: str, tags: Sequence[str]) -> None:
    """Refuse a run name or tags that Postgres or Prefect would reject."""
    for what, text, longest in [("run name", run_name, 200), *(("tag", tag, 300) for tag in tags)]:
        require_storable(what, text, longest)
    if len(tags) > MAX_TAGS:
        raise Refused("tags.too_many", f"A run can have at most {MAX_TAGS} tags, not {len(tags)}.", limit=MAX_TAGS)


def require_storable(what: str, text: str, longest: int) -> None:
    """Refuse control characters, and more than the column holds."""
    if text != sanitize(text):
        raise Refused(
            "text.unstorable",
            f"The {what} contains a character that cannot be stored. Type it instead of pasting it.",
            field=what,
        )
    if len(text) > longest:
        raise Refused(
            "text.too_long",
            f"The {what} is too long: {len(text)} characters, at most {longest}.",
            field=what,
            limit=longest,
        )
