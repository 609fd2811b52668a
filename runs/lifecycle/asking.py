"""Asking for a run."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from flows import parameters as schemas
from flows import vault
from flows.access import Forbidden, Refused, decide, demand
from flows.fitting import storable
from flows.models import Deployment, Verb
from runs import audit, queue
from runs.actors import Actor
from runs.models import RunRequest
from runs.models.request import State
from runs.nudges import nudge

FROZEN = [
    "environment_name",
    "flow_name",
    "deployment_name",
    "deployment_prefect_id",
    "deployment_version",
    "schema_fingerprint",
    "parameters",
    "scheduled_for",
    "tags",
    "run_name",
    "reason",
    "asked_by_name",
]
FURTHEST = timedelta(days=366)
MOST_TAGS = 50


def submit(
    deployment: Deployment,
    parameters: Mapping[str, Any],
    *,
    by: Actor,
    scheduled_for: datetime | None = None,
    tags: Sequence[str] = (),
    run_name: str = "",
    reason: str = "",
    submission_key: uuid.UUID | None = None,
    seen_fingerprint: str = "",
) -> RunRequest:
    """Ask for a run.

    The same `submission_key` again gives the same request. `seen_fingerprint` is the schema the asker saw.
    Raises `Forbidden`, `Refused`, or `flows.parameters.Invalid` with every error at once.
    """
    key = submission_key or uuid.uuid4()
    with audit.act("request.submit", deployment, by=by, reason=reason) as act:
        deployment = Deployment.objects.select_related("environment").get(pk=deployment.pk)
        decision = demand(by.user, Verb.TRIGGER, deployment, parameters)
        must_be_askable(deployment, reason=reason, scheduled_for=scheduled_for)
        if seen_fingerprint and seen_fingerprint != deployment.schema_fingerprint:
            raise Refused(
                f"The parameters of {deployment} changed while the form was open. Check the values and send it again."
            )
        must_be_plain(run_name, reason, tags)
        values = schemas.validate(deployment.parameter_schema, dict(parameters), defaults=deployment.parameter_defaults)
        public, secret = schemas.split(deployment.parameter_schema, values)
        environment = deployment.environment
        wish = RunRequest(
            submission_key=key,
            environment=environment,
            deployment=deployment,
            environment_name=environment.slug,
            flow_name=deployment.flow_name,
            deployment_name=deployment.full_name,
            deployment_prefect_id=deployment.prefect_id,
            deployment_version=deployment.version,
            schema_fingerprint=deployment.schema_fingerprint,
            parameters=public,
            sealed_parameters=vault.seal(json.dumps(secret)) if secret else b"",
            scheduled_for=scheduled_for,
            tags=sorted({tag.strip() for tag in tags if tag.strip()}),
            run_name=run_name.strip(),
            reason=reason.strip(),
            asked_by=by.user,
            asked_by_name=by.name,
            channel=by.channel,
            needs_approval=environment.needs_approval,
            state=State.WAITING if environment.needs_approval else State.APPROVED,
        )
        wish.digest = digest(wish)
        if environment.needs_approval:
            wish.expires_at = timezone.now() + timedelta(minutes=environment.approval_minutes)
        run_request, is_new = keep_once(wish)
        act.subject = run_request
        if not is_new:
            if run_request.digest != wish.digest or not by.is_same_person_as(run_request.asked_by_id):
                raise Refused("This form was sent before with other values. Open it again to ask for another run.")
            act.is_repeat = True
            return run_request
        act.after = {
            "deployment": deployment.full_name,
            "parameters": schemas.mask(deployment.parameter_schema, values),
            "scheduled_for": scheduled_for,
            "state": run_request.state,
            "digest": run_request.digest,
            "grants": [grant.pk for grant in decision.grants],
        }
        if run_request.state == State.APPROVED:
            queue.later("runs.tasks.launch", run_request.pk)
        nudge("request", [run_request.pk])
        return run_request


def must_be_plain(run_name: str, reason: str, tags: Sequence[str]) -> None:
    """Texts that neither Postgres nor Prefect would take are refused before either is asked."""
    limits = [("run name", run_name, 200), ("reason", reason, 1000), *(("tag", tag, 300) for tag in tags)]
    for what, text, longest in limits:
        if text != storable(text):
            raise Refused(f"The {what} holds a character that cannot be stored. Type it again instead of pasting it.")
        if len(text) > longest:
            raise Refused(f"A {what} may have {longest} characters; this one has {len(text)}.")
    if len(tags) > MOST_TAGS:
        raise Refused(f"A run may have {MOST_TAGS} tags; these are {len(tags)}.")


def must_be_allowed(deployment: Deployment, *, by: Actor) -> None:
    """For a door that turns people away before it looks at what they sent: the refusal is recorded all the same."""
    decision = decide(by.user, Verb.TRIGGER, deployment)
    if not decision:
        with audit.act("request.submit", deployment, by=by):
            raise Forbidden(decision)


def must_be_askable(deployment: Deployment, *, reason: str, scheduled_for: datetime | None) -> None:
    """The gates that do not depend on who asks; asked again at launch."""
    environment = deployment.environment
    if not environment.is_active:
        raise Refused(f"{environment} is switched off in the portal: nothing can be asked for there.")
    if deployment.gone_at:
        raise Refused(f"{deployment} is no longer deployed in {environment}. Deploy it again, or pick another one.")
    if environment.needs_reason and not reason.strip():
        raise Refused(f"{environment} wants a reason with every run. Say in one sentence why it is needed.")
    if scheduled_for and scheduled_for > timezone.now() + FURTHEST:
        raise Refused("A run can be asked for at most a year ahead.")


def keep_once(wish: RunRequest) -> tuple[RunRequest, bool]:
    """Store a wish, or find the one that the same form made a moment ago."""
    try:
        with transaction.atomic():
            wish.save(force_insert=True)
    except IntegrityError:
        return RunRequest.objects.get(submission_key=wish.submission_key), False
    return wish, True


def digest(run_request: RunRequest) -> str:
    """SHA-256, in hexadecimal, over everything frozen; secret values count by a keyed hash."""
    frozen = {name: getattr(run_request, name) for name in FROZEN}
    # Postgres gives some numbers back in another form than they came in.
    frozen["parameters"] = schemas.canonical(run_request.parameters)
    secret = vault.unseal(run_request.sealed_parameters) if run_request.sealed_parameters else ""
    frozen["secret"] = salted_hmac("runs.lifecycle.digest", secret, algorithm="sha256").hexdigest()
    text = json.dumps(frozen, sort_keys=True, separators=(",", ":"), cls=DjangoJSONEncoder)
    return hashlib.sha256(text.encode()).hexdigest()
