"""Submit a request for a run, and repeat one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from flows import canonical, deployments, encryption
from flows import parameters as schemas
from flows.models import Deployment
from runs import audit, moments, queue
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.audit import signatures
from runs.change_feed import publish
from runs.errors import Refused
from runs.governance.independence import Involved
from runs.governance.requirements import requirements_for
from runs.models import RunRequest, Verb
from runs.models.request import State
from runs.requests.approval_notices import notify_approvers
from runs.requests.destructive import is_destructive, require_name_typed
from runs.requests.frozen_values import digest, values_of
from runs.requests.offered_values import require_offered
from runs.requests.rules import (
    can_view_own,
    is_later,
    require_future,
    require_rerun_allowed,
    require_secrets_hidden,
    require_start_window,
    require_submittable,
    validate_text,
)


def submit(
    deployment: Deployment,
    parameters: Mapping[str, Any],
    *,
    by: Actor,
    scheduled_for: datetime | None = None,
    tags: Sequence[str] = (),
    run_name: str = "",
    reason: str = "",
    ticket: str = "",
    on_behalf_of: User | None = None,
    rerun_of: RunRequest | None = None,
    overrides_windows: bool = False,
    submission_key: uuid.UUID | None = None,
    form_fingerprint: str = "",
    confirmation: str = "",
) -> RunRequest:
    """Submit a request for a run; it is queued for launch, or waits for approval.

    The same `submission_key` again returns the same request. `form_fingerprint` identifies the schema behind the form.
    `on_behalf_of` is the person the requester acts for. `rerun_of` is the request that this one repeats.
    `overrides_windows` starts it outside change windows and during a freeze, for requesters with that permission.
    `confirmation` is the typed name of the deployment, for a run that deletes data.
    Raises `Forbidden`, `Refused`, or `flows.parameters.Invalid` with every error at once.
    """
    key = submission_key or uuid.uuid4()
    if on_behalf_of and not by.is_same_person_as(on_behalf_of.pk):
        by = replace(by, on_behalf_of=on_behalf_of.get_username())
    with audit.act("request.submit", deployment, by=by, reason=reason, ticket=ticket) as act:
        # 1. Which verb is needed. The deployment is read again: the caller's may be minutes old.
        if scheduled_for:
            scheduled_for = moments.in_utc(scheduled_for)
        deployment = Deployment.objects.select_related("environment").get(pk=deployment.pk)
        permissions = Permissions.of(by)
        verb = Verb.TRIGGER_LATER if is_later(scheduled_for) else Verb.TRIGGER
        if rerun_of:
            require_rerun_allowed(rerun_of, deployment, permissions)
            # Requesters who may trigger need no `rerun` to repeat their own request.
            is_own = by.is_same_person_as(rerun_of.requested_by_id)
            may_trigger = is_own and not permissions.decide(Verb.RERUN, deployment)
            verb = Verb.RERUN if verb == Verb.TRIGGER and not may_trigger else verb
        # 2. What does not depend on the values, permission first: without it nothing else is revealed.
        permissions.require(verb, deployment)
        requirements = requirements_for(Target.of(deployment))
        require_submittable(deployment, scheduled_for=scheduled_for)
        require_future(scheduled_for)
        requirements.require_reason_and_ticket("run", reason=reason, ticket=ticket)
        requirements.require_pinned(str(deployment), deployment.definition)
        # A form that was open during a deploy: its fields may no longer be what the values mean.
        if form_fingerprint and form_fingerprint != deployment.schema_fingerprint:
            raise Refused(
                "form.stale",
                (f"The parameters of {deployment} changed while the form was open. Check the values and submit again."),
            )
        validate_text(run_name, reason, tags, ticket)
        # 3. The values, and the permission for exactly these.
        values = schemas.validate(deployment.parameter_schema, dict(parameters), defaults=deployment.parameter_defaults)
        if rerun_of and verb == Verb.RERUN and not canonical.same(values, values_of(rerun_of)):
            verb = Verb.TRIGGER  # with other values it is not the same run
        decision = permissions.require(verb, deployment, values)
        # Until a later start the data can arrive: the launch decides.
        if not is_later(scheduled_for):
            require_offered(deployment, values)
        # 4. The row, with everything that an approval is for.
        public, secret = schemas.split(deployment.parameter_schema, values)
        if rerun_of:
            require_secrets_hidden(rerun_of, public)
        environment = deployment.environment
        new = RunRequest(
            submission_key=key,
            environment=environment,
            deployment=deployment,
            environment_name=environment.slug,
            api_url=environment.api_url.rstrip("/"),
            flow_name=deployment.flow_name,
            deployment_name=deployment.full_name,
            deployment_prefect_id=deployment.prefect_id,
            deployment_version=deployment.version,
            schema_fingerprint=deployment.schema_fingerprint,
            definition=deployment.definition,
            definition_fingerprint=deployment.definition_fingerprint,
            parameters=public,
            sealed_parameters=encryption.seal(json.dumps(secret)) if secret else b"",
            scheduled_for=scheduled_for,
            tags=sorted({tag.strip() for tag in tags if tag.strip()}),
            run_name=run_name.strip(),
            reason=reason.strip(),
            ticket=ticket.strip(),
            verb=verb,
            rerun_of=rerun_of,
            is_blind=rerun_of is not None and not can_view_own(permissions, rerun_of),
            requested_by=by.user,
            requested_by_name=by.name,
            on_behalf_of=on_behalf_of,
            on_behalf_of_name=on_behalf_of.get_username() if on_behalf_of else "",
            channel=by.channel,
            needs_approval=bool(requirements.stages),
            approvals_needed=requirements.approvals_needed,
            policy=requirements.frozen(),
            state=State.WAITING if requirements.stages else State.APPROVED,
        )
        # Over the columns as they are now: nothing below may change one of them.
        new.digest = digest(new)
        new.signature = signatures.sign(new)
        if requirements.stages:
            new.expires_at = timezone.now() + timedelta(minutes=requirements.minutes)
        require_start_window(new, requirements, permissions, overrides=overrides_windows)
        require_name_typed(deployment, values, confirmation)
        # 5. Insert it, or find the one that the same form made.
        run_request, is_new = insert_once(new)
        act.subject = run_request
        if not is_new:
            # The same key with other content is not a double click.
            if run_request.digest != new.digest or not by.is_same_person_as(run_request.requested_by_id):
                raise Refused(
                    "submission.reused",
                    "This form was already submitted with other values. Open it again to request another run.",
                )
            act.is_repeat = True
            return run_request
        # 6. The audit entry, without secret values; then what happens next, in the same transaction.
        act.after = {
            "deployment": deployment.full_name,
            "parameters": schemas.mask(deployment.parameter_schema, values),
            "scheduled_for": scheduled_for,
            "state": run_request.state,
            "digest": run_request.digest,
            "definition": run_request.definition_fingerprint,
            # Which grants allowed it then; they may be revoked by the time someone asks.
            "grants": [grant.pk for grant in decision.grants],
            **({"destructive": True} if is_destructive(deployment, values) else {}),
            **({"overrides": run_request.message} if run_request.overridden_at else {}),
            **(Involved.of(run_request).audit_details() if run_request.needs_approval else {}),
        }
        if run_request.state == State.APPROVED:
            queue.enqueue("runs.tasks.launch", run_request.pk)
        else:
            notify_approvers(run_request, group=requirements.stages[0]["group"])
        publish("request", [run_request.pk])
        return run_request


def rerun(
    run_request: RunRequest,
    *,
    by: Actor,
    changes: Mapping[str, Any] | None = None,
    reason: str = "",
    ticket: str = "",
    confirmation: str = "",
) -> RunRequest:
    """Request the same run again; secret values are reused unseen. `changes` are parameters to replace.

    If the deployment was deleted and deployed again, it is a run of the one that has its name now.
    """
    return submit(
        deployments.current(run_request.deployment) or run_request.deployment,
        {**values_of(run_request), **(changes or {})},
        by=by,
        tags=run_request.tags,
        run_name=run_request.run_name,
        reason=reason,
        ticket=ticket,
        rerun_of=run_request,
        confirmation=confirmation,
    )


def insert_once(run_request: RunRequest) -> tuple[RunRequest, bool]:
    """Insert the request, or return the one that the same form made before, and whether it is new."""
    # The unique key decides, not a query before it: a double click sends both at once.
    try:
        with transaction.atomic():
            run_request.save(force_insert=True)
    except IntegrityError:
        return RunRequest.objects.get(submission_key=run_request.submission_key), False
    return run_request, True
