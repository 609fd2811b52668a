"""A filled-in backfill on its way through the page of its plan: encrypted, so it is neither read nor changed there."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from flows import encryption
from flows.models import Deployment
from portal.admin.run_form.draft import VALID_FOR
from runs import requests
from runs.actors import Actor
from runs.models import ChangeRequest
from runs.requests import Plan


@dataclass(frozen=True, slots=True)
class BackfillDraft:
    """`values` are those that all items share, `options` the cleaned choices of the form."""

    deployment: Deployment
    vary: dict[str, str]
    values: dict[str, Any]
    options: dict[str, Any]
    key: uuid.UUID

    def plan(self, *, by: Actor) -> Plan:
        return requests.plan_backfill(
            self.deployment,
            self.values,
            self.vary,
            by=by,
            skip_completed=self.options["skip_completed"],
            skip_open=self.options["skip_open"],
            profile=self.options.get("profile", ""),
        )

    def submit(self, *, by: Actor, displayed_plan: str, leave_out_refused: bool, confirmation: str) -> ChangeRequest:
        options, behalf = self.options, self.options["on_behalf_of"]
        return requests.submit_backfill(
            self.deployment,
            self.values,
            self.vary,
            by=by,
            at_once=options["at_once"],
            on_failure=ChangeRequest.OnFailure(options["on_failure"]),
            skip_completed=options["skip_completed"],
            skip_open=options["skip_open"],
            leave_out_refused=leave_out_refused,
            displayed_plan=displayed_plan,
            tags=options["tags"],
            profile=options.get("profile", ""),
            reason=options["reason"],
            ticket=options["ticket"],
            on_behalf_of=User.objects.filter(pk=behalf).first() if behalf else None,
            overrides_windows=options["overrides"],
            confirmation=confirmation,
            submission_key=self.key,
        )

    def encrypt(self, user: User) -> str:
        """Return a token for a hidden input, valid for this user and deployment, for `VALID_FOR`."""
        plain = {
            # Tells it from other encrypted values, such as drafts of runs, which must not be accepted as this.
            "backfill_of": timezone.now().isoformat(),
            "user": user.pk,
            "deployment": self.deployment.pk,
            "fingerprint": self.deployment.schema_fingerprint,
            "vary": self.vary,
            "values": self.values,
            "options": self.options,
            "key": self.key,
        }
        return encryption.seal(json.dumps(plain, cls=DjangoJSONEncoder)).decode()


def read_backfill(token: str, deployment: Deployment, user: User) -> BackfillDraft | None:
    """Decrypt a token; None if it expired, or is not for this user, deployment and schema."""
    try:
        plain = json.loads(encryption.unseal(token.encode()))
        at = datetime.fromisoformat(plain["backfill_of"])
    except (encryption.DecryptionError, ValueError, TypeError, LookupError):
        return None
    bound = (plain["user"], plain["deployment"], plain["fingerprint"])
    if bound != (user.pk, deployment.pk, deployment.schema_fingerprint) or timezone.now() - at > VALID_FOR:
        return None
    return BackfillDraft(deployment, plain["vary"], plain["values"], plain["options"], uuid.UUID(plain["key"]))
