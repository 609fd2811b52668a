"""A filled-in form on its way through the confirmation page: encrypted, so it can be neither read nor changed there."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from flows import canonical, encryption
from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters import Invalid
from flows.wording import is_name_of
from portal.admin.problem import Problem
from runs import requests
from runs.actors import Actor
from runs.models import ChangeRequest, RunRequest

# It can hold secrets, so a page that is found later must be useless.
VALID_FOR = timedelta(minutes=30)


EXPIRED = Problem(
    "form.expired",
    f"This page expired after {VALID_FOR // timedelta(minutes=1)} minutes, or belongs to someone else. "
    "Fill in the form again.",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything a run is requested with. `is_quick`: without the form; `confirmation` is the name that was typed."""

    deployment: Deployment
    values: dict[str, Any]
    key: uuid.UUID
    fingerprint: str
    scheduled_for: datetime | None = None
    run_name: str = ""
    tags: tuple[str, ...] = ()
    reason: str = ""
    ticket: str = ""
    on_behalf_of: User | None = None
    rerun_of: RunRequest | None = None
    overrides_windows: bool = False
    retries: int = 0
    profile: str = ""
    is_quick: bool = False
    confirmation: str = ""

    @property
    def resolved(self) -> dict[str, Any] | None:
        """The parameters with all defaults filled in, or None if they are no longer valid."""
        deployment = self.deployment
        try:
            return schemas.validate(deployment.parameter_schema, self.values, defaults=deployment.parameter_defaults)
        except Invalid:
            return None

    @property
    def is_destructive(self) -> bool:
        return requests.is_destructive(self.deployment, self.resolved or self.values)

    @property
    def names_environment(self) -> bool:
        """Whether the name of the environment is typed and not that of the deployment."""
        return self.is_quick and not self.is_destructive

    @property
    def word(self) -> str:
        """The name to type as confirmation."""
        return self.deployment.environment.slug if self.names_environment else str(self.deployment)

    @property
    def is_confirmed(self) -> bool:
        """Whether the name was typed; that of the deployment also in full."""
        if self.names_environment:
            return self.confirmation == self.word
        return is_name_of(self.deployment.full_name, self.confirmation)

    def with_unused_key(self) -> Draft:
        """Replace the submission key if it has made a request already: every further try would be refused."""
        is_used = ChangeRequest.objects.filter(submission_key=self.key).exists()
        return replace(self, key=uuid.uuid4()) if is_used else self

    def submit(self, *, by: Actor) -> RunRequest:
        return requests.submit(
            self.deployment,
            self.values,
            by=by,
            scheduled_for=self.scheduled_for,
            tags=self.tags,
            run_name=self.run_name,
            reason=self.reason,
            ticket=self.ticket,
            on_behalf_of=self.on_behalf_of,
            rerun_of=self.rerun_of,
            overrides_windows=self.overrides_windows,
            retries=self.retries,
            profile=self.profile,
            submission_key=self.key,
            form_fingerprint=self.fingerprint,
            confirmation=self.confirmation,
        )

    def encrypt(self, user: User) -> str:
        """Return a token for a hidden input, valid for this user and deployment, for `VALID_FOR`."""
        plain = {
            # Tells it from other encrypted values, such as credentials, which must not be accepted as a draft.
            "draft_of": timezone.now().isoformat(),
            "user": user.pk,
            "deployment": self.deployment.pk,
            "values": self.values,
            "key": self.key,
            "fingerprint": self.fingerprint,
            "scheduled_for": self.scheduled_for and canonical.moment(self.scheduled_for).isoformat(),
            "run_name": self.run_name,
            "tags": self.tags,
            "reason": self.reason,
            "ticket": self.ticket,
            "on_behalf_of": self.on_behalf_of and self.on_behalf_of.pk,
            "overrides_windows": self.overrides_windows,
            "retries": self.retries,
            "profile": self.profile,
            "is_quick": self.is_quick,
            # Sealed with the values: without it, another address would decide who may view them.
            "rerun_of": self.rerun_of and self.rerun_of.pk,
        }
        return encryption.seal(json.dumps(plain, cls=DjangoJSONEncoder)).decode()


def read_draft(token: str, deployment: Deployment, user: User, rerun_of: RunRequest | None) -> Draft | None:
    """Decrypt a token; None if it expired or is not for this user and deployment.

    `rerun_of` comes from the URL, where it was checked again for this request.
    """
    # 1. Anything else that was encrypted with our keys fails here, or has no `draft_of`.
    try:
        plain = json.loads(encryption.unseal(token.encode()))
        at = datetime.fromisoformat(plain["draft_of"])
    except (encryption.DecryptionError, ValueError, TypeError, LookupError):
        return None
    # 2. The token can be copied: it is worthless to other users, for other deployments, and later.
    if (plain["user"], plain["deployment"]) != (user.pk, deployment.pk) or timezone.now() - at > VALID_FOR:
        return None
    if plain["rerun_of"] != (rerun_of and rerun_of.pk):
        return None
    planned = plain["scheduled_for"]
    # 3. Permissions are not checked here: `requests.submit` decides with the grants of that moment.
    return Draft(
        deployment,
        plain["values"],
        uuid.UUID(plain["key"]),
        plain["fingerprint"],
        scheduled_for=datetime.fromisoformat(planned) if planned else None,
        run_name=plain["run_name"],
        tags=tuple(plain["tags"]),
        reason=plain["reason"],
        ticket=plain["ticket"],
        on_behalf_of=User.objects.filter(pk=plain["on_behalf_of"]).first() if plain["on_behalf_of"] else None,
        rerun_of=rerun_of,
        overrides_windows=plain["overrides_windows"],
        retries=plain["retries"],
        profile=plain["profile"],
        is_quick=plain["is_quick"],
    )
