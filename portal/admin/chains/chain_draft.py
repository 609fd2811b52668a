"""A filled-in run of a chain on its way through the page of its plan: encrypted, so it is neither read nor changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from flows import encryption
from portal.admin.run_form.draft import VALID_FOR
from runs.actors import Actor
from runs.automation import chains
from runs.models import Chain, ChangeRequest


@dataclass(frozen=True, slots=True)
class ChainDraft:
    """`inputs` hold secrets, `profiles` are by step, `options` are reason, ticket and the key of on_behalf_of."""

    chain: Chain
    version: int
    inputs: Mapping[str, Any]
    profiles: Mapping[str, str]
    options: Mapping[str, Any]
    key: uuid.UUID

    @property
    def on_behalf_of(self) -> User | None:
        return User.objects.filter(pk=self.options["on_behalf_of"]).first() if self.options["on_behalf_of"] else None

    def submit(self, *, by: Actor, displayed_plan: str = "") -> ChangeRequest:
        return chains.request_run(
            self.chain,
            self.inputs,
            by=by,
            profiles=self.profiles,
            displayed_version=self.version,
            displayed_plan=displayed_plan,
            reason=self.options["reason"],
            ticket=self.options["ticket"],
            on_behalf_of=self.on_behalf_of,
            submission_key=self.key,
        )

    def encrypt(self, user: User) -> str:
        """Return a token for a hidden input, valid for this user and chain, for `VALID_FOR`."""
        plain = {
            # Tells it from other encrypted values, such as drafts of backfills, which must not be accepted as this.
            "chain_run_of": timezone.now().isoformat(),
            "user": user.pk,
            "chain": self.chain.pk,
            "version": self.version,
            "inputs": self.inputs,
            "profiles": self.profiles,
            "options": self.options,
            "key": self.key,
        }
        return encryption.seal(json.dumps(plain, cls=DjangoJSONEncoder)).decode()


def read_chain_draft(token: str, chain: Chain, user: User) -> ChainDraft | None:
    """Decrypt a token; None if it expired, or is not for this user and chain."""
    try:
        plain = json.loads(encryption.unseal(token.encode()))
        at = datetime.fromisoformat(plain["chain_run_of"])
    except (encryption.DecryptionError, ValueError, TypeError, LookupError):
        return None
    if (plain["user"], plain["chain"]) != (user.pk, chain.pk) or timezone.now() - at > VALID_FOR:
        return None
    return ChainDraft(
        chain, plain["version"], plain["inputs"], plain["profiles"], plain["options"], uuid.UUID(plain["key"])
    )
