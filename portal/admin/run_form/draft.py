"""A request between form and confirmation: encrypted in the page, so that it can be neither read nor changed."""

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
from flows.models import Deployment
from runs import requests
from runs.actors import Actor
from runs.models import RunRequest

# It may hold secrets, so it expires: a page found later is of no use.
GOOD_FOR = timedelta(minutes=30)
TOO_OLD = (
    f"The page was open for more than {GOOD_FOR // timedelta(minutes=1)} minutes, or was not yours. "
    "Fill in the form again."
)


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything a run is asked for with. `is_quick` is one that took nothing but the defaults."""

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
    is_quick: bool = False

    @property
    def word(self) -> str:
        """What is typed to confirm it."""
        return self.deployment.environment.slug if self.is_quick else self.deployment.full_name

    def renewed(self) -> Draft:
        """With another key, once the one it has made a request already: it would be refused for ever."""
        is_used = RunRequest.objects.filter(submission_key=self.key).exists()
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
            submission_key=self.key,
            form_fingerprint=self.fingerprint,
        )

    def sealed(self, user: User) -> str:
        """For a hidden input: encrypted, and good for this person, this deployment and a while."""
        plain = {
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
            "is_quick": self.is_quick,
        }
        return encryption.seal(json.dumps(plain, cls=DjangoJSONEncoder)).decode()


def read_draft(token: str, deployment: Deployment, user: User, rerun_of: RunRequest | None) -> Draft | None:
    """What was sealed for this person and this deployment, or None. What it repeats stands in the page's address."""
    try:
        plain = json.loads(encryption.unseal(token.encode()))
        at = datetime.fromisoformat(plain["draft_of"])
    except (encryption.DecryptionError, ValueError, TypeError, LookupError):
        return None
    if (plain["user"], plain["deployment"]) != (user.pk, deployment.pk) or timezone.now() - at > GOOD_FOR:
        return None
    planned = plain["scheduled_for"]
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
        is_quick=plain["is_quick"],
    )
