"""Whether the database protects the audit trail: for `manage.py check --database default`, and for pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connection

from flows.wording import listed
from runs.audit import protection
from runs.models import AuditEntry

# Privileges and triggers that a sentence names.
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """What is not protected and how to fix it; `is_usual` in a demo or a test, which have no separate role and key."""

    id: str
    message: str
    fix: str
    is_usual: bool = False


def problems() -> list[Problem]:
    """Return what is wrong, worst first; three queries."""
    found: list[Problem] = []
    if broken := protection.broken_triggers():
        found.append(
            Problem(
                "portal.W002",
                f"The audit trail is not secured: triggers are missing or can be disabled: {listed(broken, SHOWN)}.",
                "Create them again as in runs/migrations/triggers.sql, and find out who changed them.",
            )
        )
    if excess := protection.excess():
        found.append(
            Problem(
                "portal.W001",
                f"The audit trail is not secured: the portal's database role can {listed(excess, SHOWN)}.",
                "Run “manage.py secure_audit ROLE” as the owner of the tables, and the portal as that role.",
                is_usual=not settings.PRODUCTION,
            )
        )
    if settings.INSECURE_AUDIT_KEY in settings.AUDIT_KEYS:
        found.append(
            Problem(
                "portal.W003",
                "The audit trail is not secured: everyone can read the key that signs it in the source code.",
                "Set PORTAL_AUDIT_KEYS to a key of 32 random characters or more.",
                is_usual=not settings.PRODUCTION,
            )
        )
    return found


def check_protection(**options: Any) -> list[checks.CheckMessage]:
    """Return the problems as messages of Django's check; nothing before the first migrate."""
    if AuditEntry._meta.db_table not in connection.introspection.table_names():
        return []
    return [
        (checks.Info if each.is_usual else checks.Warning)(
            each.message, hint=each.fix, id=each.id.replace("W", "I" if each.is_usual else "W")
        )
        for each in problems()
    ]
