"""Links from audit entries to the pages of their subjects, as long as those exist."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import Model
from django.urls import NoReverseMatch, reverse

from runs.models import AuditEntry, EventRule, Hook, Run, RunRequest, ServiceAccount, Token

# subject kind -> the model whose page shows it. Older entries call people "user".
SUBJECTS = {
    "deployment": "flows.Deployment",
    "environment": "flows.Environment",
    "workpool": "flows.WorkPool",
    "alias": "flows.Alias",
    "grant": "runs.Grant",
    "run": "runs.Run",
    "runrequest": "runs.RunRequest",
    "changerequest": "runs.ChangeRequest",
    "policy": "runs.Policy",
    "window": "runs.Window",
    "person": "auth.User",
    "user": "auth.User",
    "group": "auth.Group",
    "token": "runs.Token",
    "hook": "runs.Hook",
    "schedule": "runs.Schedule",
    "eventrule": "runs.EventRule",
    "jobtrust": "runs.JobTrust",
    "agent": "runs.Agent",
    "preset": "runs.Preset",
    "failuregroup": "runs.FailureGroup",
}
# Kinds of subject that are accounts. A service account has a page of its own.
ACCOUNTS = ("person", "user")


def link_subjects(entries: Iterable[AuditEntry]) -> None:
    """Set `href` on each entry whose subject still exists, and `token_href` where a token acted.

    One query for each kind of subject, one for service accounts and one for tokens.
    """
    entries = list(entries)
    # Entries hold no foreign keys, because history outlives its subjects: existence has to be looked up.
    wanted: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.subject_id.isdecimal():
            wanted[entry.subject_kind].add(entry.subject_id)
    found = {(kind, pk) for kind, pks in wanted.items() for pk in existing(kind, pks)}
    service_accounts = service_account_pages({pk for kind, pk in found if kind in ACCOUNTS})
    tokens = token_pages({entry.token_id for entry in entries} - {""})
    for entry in entries:
        if (entry.subject_kind, entry.subject_id) in found:
            page = service_accounts.get(entry.subject_id) if entry.subject_kind in ACCOUNTS else None
            entry.href = page or address(entry.subject_kind, entry.subject_id)  # type: ignore[attr-defined]  # for this page
        entry.token_href = tokens.get(entry.token_id, "")  # type: ignore[attr-defined]  # for this page


def service_account_pages(users: set[str]) -> dict[str, str]:
    """Return the pages of those users that are service accounts, by the key of the user."""
    rows = ServiceAccount.objects.filter(user__in={int(pk) for pk in users}).values_list("user", "pk") if users else ()
    return {str(user): reverse("admin:runs_serviceaccount_change", args=[pk]) for user, pk in rows}


def token_pages(keys: set[str]) -> dict[str, str]:
    """Return the pages of tokens, hooks and event rules by their keys. Readers of the audit trail see all of them."""
    tokens = Token.objects.filter(key__in=keys).values_list("key", "pk") if keys else ()
    found = {key: address("token", str(pk)) for key, pk in tokens}
    for kind, rows in (("hook", Hook.objects), ("eventrule", EventRule.objects)):
        if left := keys - found.keys():
            found |= {key: address(kind, str(pk)) for key, pk in rows.filter(key__in=left).values_list("key", "pk")}
    return found


def existing(kind: str, pks: set[str]) -> list[str]:
    if kind not in SUBJECTS:
        return []
    model = apps.get_model(SUBJECTS[kind])
    return [str(pk) for pk in model._default_manager.filter(pk__in=pks).values_list("pk", flat=True)]


def address(kind: str, pk: str) -> str:
    try:
        return reverse(f"admin:{SUBJECTS[kind].lower().replace('.', '_')}_change", args=[pk])
    except NoReverseMatch:
        # The key is digits but longer than any that a page accepts.
        return ""


def filter_of(row: Model) -> dict[str, str]:
    """Return the audit filters for entries about a row; for an account, also those by it."""
    if isinstance(row, User):
        return {"person": str(row.pk)}
    if isinstance(row, ServiceAccount):
        return {"person": str(row.user_id)}
    subjects = [f"{row._meta.model_name}:{row.pk}"]
    # A run and its request share one history: approvals are on the request, the cancellation is on the run.
    for related in ("run_request", "run") if isinstance(row, Run | RunRequest) else ():
        other = getattr(row, related, None)
        if isinstance(other, Model):
            subjects.append(f"{other._meta.model_name}:{other.pk}")
    return {"subject": ",".join(subjects)}
