"""Digests of change requests: everything that an approval is for."""

from __future__ import annotations

import json

from django.utils.crypto import salted_hmac

from flows import canonical, encryption
from runs.models import ChangeRequest, RuleChange

# The columns of a change request that its digest covers; `contents` stands for what is in it.
CHANGE = [
    "kind",
    "environment_name",
    "requested_by_name",
    "on_behalf_of_name",
    "reason",
    "ticket",
    "needs_approval",
    "approvals_needed",
    "policy",
    "pacing",
    "contents",
]
RULES = ["act", "subject_id", "subject_name", "beneficiary", "before", "after", "loosened"]


def change_digest(change: ChangeRequest) -> str:
    """Return the SHA-256, in hexadecimal, over everything that an approval is for."""
    return canonical.digest({name: getattr(change, name) for name in CHANGE})


def rules_digest(rules: RuleChange) -> str:
    """Return the SHA-256, in hexadecimal, over one row before and after."""
    return canonical.digest({name: getattr(rules, name) for name in RULES} | {"secret": secret(rules.sealed_columns)})


def secret(sealed: bytes | memoryview) -> str:
    """Return what stands for encrypted values in a digest, in hexadecimal.

    A keyed hash: digests are shown on pages, and short secrets could be guessed from them.
    """
    spelled = canonical.text(json.loads(encryption.unseal(sealed))) if sealed else ""
    return salted_hmac("runs.changes.digest", spelled, algorithm="sha256").hexdigest()
