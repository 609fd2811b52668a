"""Who created or changed the people of a request lately, in words; for its page and for pages of the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime

from portal.ui import times
from runs import changes
from runs.models import AuditEntry, BreakGlass, RunRequest


@dataclass(frozen=True, slots=True)
class DisplayedChange:
    """One change of an account: “ada created the account ghost”, “3 min before the request”."""

    person: str
    kind: str
    what: str
    at: datetime
    when: str


def changes_of_request(run_request: RunRequest, emergency: BreakGlass | None) -> list[DisplayedChange]:
    """Return what was lately changed about requester, approvers and who overrode, newest first."""
    if not run_request.change.needs_approval:
        return []
    others = (emergency.by_id, emergency.reviewed_by_id) if emergency else ()
    return [
        DisplayedChange(
            each.person, each.kind, each.what, each.at, distance(each.at, run_request.requested_at, "the request")
        )
        for each in changes.involved_in(run_request.change, *others).own_changes()
    ]


def changes_in_entry(entry: AuditEntry) -> list[DisplayedChange]:
    """Return what an entry of the audit trail says about the accounts of its people."""
    refused = entry.after.get("refused") or {}
    stored = entry.after.get("account_changes") or refused.get("data", {}).get("changes") or []
    return [change for each in stored if isinstance(each, dict) and (change := parse_change(each, entry.at))]


def parse_change(stored: Mapping[str, Any], entered_at: datetime) -> DisplayedChange | None:
    at = parse_datetime(str(stored.get("at", "")))
    if at is None:
        return None
    person, kind, what = (str(stored.get(name, "")) for name in ("person", "kind", "what"))
    return DisplayedChange(person, kind, what, at, distance(at, entered_at, "this entry"))


def distance(at: datetime, moment: datetime, what: str) -> str:
    seconds = (moment - at).total_seconds()
    return f"{times.span(abs(seconds))} {'before' if seconds >= 0 else 'after'} {what}"
