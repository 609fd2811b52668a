"""Links from audit entries to the pages of their subjects, as long as those exist."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import BigIntegerField, Model, QuerySet, TextField, Value
from django.db.models.functions import Cast
from django.urls import NoReverseMatch, reverse

from runs.models import AuditEntry, EventRule, Hook, Run, RunRequest, ServiceAccount, Token

# subject kind -> the model whose page shows it. Older entries call people "user".
SUBJECTS = {
    "deployment": "flows.Deployment",
    "environment": "flows.Environment",
    "unassigneddeployment": "flows.UnassignedDeployment",
    "workpool": "flows.WorkPool",
    "globallimit": "flows.GlobalLimit",
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
    "channel": "runs.Channel",
    "schedule": "runs.Schedule",
    "eventrule": "runs.EventRule",
    "jobtrust": "runs.JobTrust",
    "agent": "runs.Agent",
    "preset": "runs.Preset",
    "failuregroup": "runs.FailureGroup",
    "servicelevel": "runs.ServiceLevel",
    "resourceprofile": "runs.ResourceProfile",
}
# Kinds of subject that are accounts. A service account has a page of its own.
ACCOUNTS = ("person", "user")
# What is looked up beside subjects: service accounts by their users, tokens and hooks by their keys.
ACCOUNT, KEY = "account of a user", "key"


def link_subjects(entries: Iterable[AuditEntry], known: Iterable[tuple[str, str]] = ()) -> None:
    """Set `href` on each entry whose subject still exists, and `token_href` where a token acted; in one query.

    `known` are subjects that exist, by kind and key.
    """
    entries, known = list(entries), set(known)
    # 1. Entries hold no foreign keys, because history outlives its subjects: existence has to be looked up.
    wanted: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.subject_id.isdecimal() and (entry.subject_kind, entry.subject_id) not in known:
            wanted[entry.subject_kind].add(entry.subject_id)
    accounts = {int(pk) for kind in ACCOUNTS for pk in wanted[kind]}
    keys = {entry.token_id for entry in entries} - {""}
    pages = pages_of(
        [
            *(
                part(kind, apps.get_model(SUBJECTS[kind]), pk__in=pks)
                for kind, pks in wanted.items()
                if kind in SUBJECTS
            ),
            *([part(ACCOUNT, ServiceAccount, "user", user__in=accounts)] if accounts else []),
            # By token, hook and event rule. Readers of the audit trail see all of them.
            *([part(KEY, model, "key", key__in=keys) for model in (Token, Hook, EventRule)] if keys else []),
        ]
    )
    pages |= {subject: address(*subject) for subject in known if subject[0] in SUBJECTS}
    # 2. The link of each entry.
    for entry in entries:
        own = pages.get((ACCOUNT, entry.subject_id)) if entry.subject_kind in ACCOUNTS else None
        if href := own or pages.get((entry.subject_kind, entry.subject_id)):
            entry.href = href  # type: ignore[attr-defined]  # for this page
        entry.token_href = pages.get((KEY, entry.token_id), "")  # type: ignore[attr-defined]  # for this page


def part(kind: str, model: type[Model], name: str = "pk", **criteria: Any) -> QuerySet[Any, Any]:
    """Return the rows of a model as kind, name as text, model and key."""
    rows = model._default_manager.order_by().filter(**criteria)
    label = Value(model._meta.label_lower, TextField())
    return rows.values_list(Value(kind, TextField()), Cast(name, TextField()), label, Cast("pk", BigIntegerField()))


def pages_of(parts: Sequence[QuerySet[Any, Any]]) -> dict[tuple[str, str], str]:
    """Return the addresses of rows by their kind and name."""
    if not parts:
        return {}
    rows = parts[0].union(*parts[1:], all=True).order_by() if len(parts) > 1 else parts[0]
    return {(kind, name): page_of(label, str(pk)) for kind, name, label, pk in rows}


def address(kind: str, pk: str) -> str:
    return page_of(SUBJECTS[kind].lower(), pk)


def page_of(label: str, pk: str) -> str:
    """Return the address of a row's page; `label` is that of its model, such as "runs.run"."""
    try:
        return reverse(f"admin:{label.replace('.', '_')}_change", args=[pk])
    except NoReverseMatch:
        # The key is digits but longer than any that a page accepts.
        return ""


def subjects_of(criteria: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the kinds and keys of the rows that `filter_of` names."""
    kinds = [subject.partition(":") for subject in criteria.get("subject", "").split(",") if subject]
    return [(kind, pk) for kind, _, pk in kinds]


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
