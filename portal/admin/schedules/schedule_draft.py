"""A filled-in schedule on its way through the review page: encrypted, so it is neither read nor changed there."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from flows import canonical, encryption
from flows.models import Deployment
from portal.admin.run_form.draft import VALID_FOR
from runs.actors import Actor
from runs.automation import schedule_listings, schedules
from runs.models import Schedule

MOMENTS = ("anchor", "valid_until")


@dataclass(frozen=True, slots=True)
class ScheduleDraft:
    """`options` are the cleaned choices of the form, `replaces` the schedule that is edited or renewed."""

    deployment: Deployment
    values: dict[str, Any]
    options: dict[str, Any]
    key: uuid.UUID
    replaces: Schedule | None = None

    def preview(self) -> list[datetime]:
        """Return the next ten starts before its end."""
        options = self.options
        rule = (options["rule_type"], options["rule"], options["time_zone"])
        found = schedule_listings.preview(*rule, anchor=options["anchor"])
        return [each for each in found if each < options["valid_until"]]

    def submit(self, *, by: Actor, confirmation: str) -> Schedule:
        options = dict(self.options)
        behalf = options.pop("on_behalf_of")
        return schedules.request(
            self.deployment,
            self.values,
            by=by,
            replaces=self.replaces,
            on_behalf_of=User.objects.filter(pk=behalf).first() if behalf else None,
            confirmation=confirmation,
            form_fingerprint=self.deployment.schema_fingerprint,
            submission_key=self.key,
            **options,
        )

    def encrypt(self, user: User) -> str:
        """Return a token for a hidden input, valid for this user and deployment, for `VALID_FOR`."""
        moments = {name: self.options[name] and canonical.moment(self.options[name]).isoformat() for name in MOMENTS}
        plain = {
            # Tells it from other encrypted values, such as drafts of runs, which must not be accepted as this.
            "schedule_of": timezone.now().isoformat(),
            "user": user.pk,
            "deployment": self.deployment.pk,
            "fingerprint": self.deployment.schema_fingerprint,
            "values": self.values,
            "options": self.options | moments,
            "key": self.key,
            "replaces": self.replaces and self.replaces.pk,
        }
        return encryption.seal(json.dumps(plain, cls=DjangoJSONEncoder)).decode()


def read_schedule(token: str, deployment: Deployment, user: User, replaces: Schedule | None) -> ScheduleDraft | None:
    """Decrypt a token; None if it expired, or is not for this user, deployment, schema and schedule."""
    try:
        plain = json.loads(encryption.unseal(token.encode()))
        at = datetime.fromisoformat(plain["schedule_of"])
    except (encryption.DecryptionError, ValueError, TypeError, LookupError):
        return None
    bound = (plain["user"], plain["deployment"], plain["fingerprint"], plain["replaces"])
    expected = (user.pk, deployment.pk, deployment.schema_fingerprint, replaces.pk if replaces else None)
    if bound != expected or timezone.now() - at > VALID_FOR:
        return None
    moments = {
        name: datetime.fromisoformat(plain["options"][name]) if plain["options"][name] else None for name in MOMENTS
    }
    return ScheduleDraft(deployment, plain["values"], plain["options"] | moments, uuid.UUID(plain["key"]), replaces)
