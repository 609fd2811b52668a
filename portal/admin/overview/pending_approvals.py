"""What needs the reader's approval: one row a change request, with what differs from the last successful run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count as CountRows
from django.db.models import Min, OuterRef, Subquery
from django.db.models.functions import JSONObject
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from flows import definition
from flows.models import Environment
from flows.wording import deployment_name, plural
from portal import inbox
from portal.admin.requests import launch_warnings, parameter_diff
from portal.auth.request_user import permissions_of
from portal.ui.run_links import Count, list_url
from runs import requests
from runs.access.decisions import Permissions
from runs.changes import queries
from runs.governance.requirements import Requirements
from runs.models import ChangeRequest, Run, RunRequest, RunSpec, Verb
from runs.models.policy import Risk
from runs.requests import visibility

FEW = 8
# Differences in one line, and characters of a value in it. What has more is read on its page.
MOST_DIFFERENCES, LONGEST_VALUE, MOST_MOVING = 4, 40, 2
# Requirements that changed since the request are not looked up for each row: the launch asks for them.
NOTHING = Requirements("", (), 0)
# With what the row says of them.
BEFORE_RUNS: dict[str, str] = {
    ChangeRequest.Kind.RETRY: "Retry of a run of",
    ChangeRequest.Kind.SCHEDULE: "Schedule of",
    ChangeRequest.Kind.CHAIN: "Chain that begins with",
}
WITHOUT_RUNS = (ChangeRequest.Kind.RULES, *BEFORE_RUNS)


@dataclass(frozen=True, slots=True)
class Difference:
    """A parameter that differs: `before` is empty where there was no value."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A request in the panel. `run_request` is the first of its runs; None for changes of rules and for retries.

    `tells_all` means that the row shows all that a list of requests to approve would, and that nothing needs a closer
    look: it can be approved in the row.
    """

    change: ChangeRequest
    title: str
    url: str
    run_request: RunRequest | None = None
    differences: tuple[Difference, ...] = ()
    more: int = 0
    note: str = ""
    # What an approver should look at: risk, lost data, the definition, what would be refused at launch.
    flags: tuple[str, ...] = ()
    tells_all: bool = False

    @property
    def environment(self) -> Environment | None:
        return self.run_request.environment if self.run_request else self.change.environment

    @property
    def approve_url(self) -> str:
        """The address to which the approval is sent, with the digest that this row shows."""
        return self.address("approve")

    @property
    def reject_url(self) -> str:
        return self.address("reject")

    def address(self, act: str) -> str:
        # Backfills are decided as a whole.
        single = None if self.change.kind in inbox.WITH_OWN_PAGE else self.run_request
        if single:
            return reverse(f"admin:runs_runrequest_{act}", args=[single.pk])
        return reverse(f"admin:runs_changerequest_{act}", args=[self.change.pk])

    @property
    def key(self) -> int:
        return self.run_request.pk if self.run_request else self.change.pk


@dataclass(frozen=True, slots=True)
class PendingApprovals:
    rows: list[PendingRow]
    count: Count
    rules: Count

    @property
    def total(self) -> int:
        return self.count.number + self.rules.number


def pending_approvals(request: HttpRequest) -> PendingApprovals | None:
    """Return what needs the reader's approval; None for readers who cannot approve anything."""
    permissions = permissions_of(request)
    # 1. The first of them, which the menu has read already: those that expire first above.
    waiting, rules = inbox.waiting_changes(request), inbox.waiting_rules(request)
    if not rules and not permissions.can_any(Verb.APPROVE):
        return None
    first = sorted([*waiting, *rules], key=lambda change: (change.expires_at or timezone.now(), change.pk))[:FEW]
    # 2. Their rows, and what each is compared with.
    run_requests = first_runs([change.pk for change in first if change.kind not in WITHOUT_RUNS])
    compare = Comparison.of(run_requests.values(), permissions)
    others = without_runs([change.pk for change in first if change.kind in BEFORE_RUNS])
    others = {**others, **{change.pk: change for change in rules}}
    return PendingApprovals(
        [
            row_of(run_requests[change.pk], compare) if change.pk in run_requests else row_of_other(others[change.pk])
            for change in first
            if change.pk in run_requests or change.pk in others
        ],
        Count("approvals", inbox.waiting_for_me(request), list_url("runs_runrequest", whose="to-answer")),
        Count("rules", inbox.changes_waiting_for_me(request), list_url("runs_changerequest", whose="to-answer")),
    )


def without_runs(keys: list[int]) -> Mapping[int, ChangeRequest]:
    """Return the change requests with `first_deployment`, the name of the one that they would run first."""
    if not keys:
        return {}
    specs = RunSpec.objects.filter(change=OuterRef("pk")).order_by("position")
    found = ChangeRequest.objects.select_related("environment").annotate(
        first_deployment=Subquery(specs.values("deployment_name")[:1])
    )
    return found.in_bulk(keys)


def first_runs(changes: list[int]) -> dict[int, RunRequest]:
    """Return the first run request of each change request by its key, annotated with what it is compared with."""
    if not changes:
        return {}
    first = RunRequest.objects.filter(change__in=changes).order_by().values("change").annotate(first=Min("pk"))
    # As on the page of a request: by name, because a deployment that was deployed again is another row.
    environment, name = OuterRef("environment"), OuterRef("spec__deployment_name")
    runs = Run.objects.filter(environment=environment, deployment_name=name, state_type="COMPLETED")
    succeeded = runs.order_by("-sort_at", "-pk")
    launched = queries.approved_and_launched().filter(deployment__environment=environment, deployment__full_name=name)
    approved = launched.order_by("-launched_at")
    specs = RunSpec.objects.filter(change=OuterRef("change")).order_by()
    found = (
        # As an array, which Postgres reads first: with a subquery it joins all requests that there are.
        RunRequest.objects.filter(pk__any_of=ArraySubquery(first.values("first")))
        .select_related("change", "spec__rerun_of", "environment__server", "deployment__environment")
        .annotate(
            last_success=Subquery(succeeded.values(found=JSONObject(pk="pk", parameters="parameters"))[:1]),
            last_approved=Subquery(approved.values("pk")[:1]),
            names=ArraySubquery(specs.values("deployment_name").distinct()),
            spec_count=Subquery(specs.values("change").annotate(specs_there=CountRows("pk")).values("specs_there")),
        )
    )
    return {row.change_id: row for row in found}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the rows are compared with besides their last successful runs, and what the reader may see of them."""

    approved: Mapping[int, RunRequest]
    permissions: Permissions

    @classmethod
    def of(cls, rows: Iterable[Any], permissions: Permissions) -> Comparison:
        approved = {row.last_approved for row in rows} - {None}
        earlier = RunRequest.objects.select_related("change", "spec").prefetch_related("change__approvals")
        return cls(earlier.in_bulk(approved) if approved else {}, permissions)

    def definition_flag(self, row: Any) -> str:
        """Say how the definition differs from the one last approved and launched there; empty if it does not."""
        last = self.approved.get(row.last_approved)
        if last is None or not queries.is_signed(last):
            return "first approval"
        is_same = last.spec.definition_fingerprint == row.spec.definition_fingerprint
        return "" if is_same else "definition changed since the last approval"


def row_of_other(change: Any) -> PendingRow:
    """Return the row of a change request without runs so far: what it is about, decided on its page."""
    if change.kind == ChangeRequest.Kind.RULES:
        title = "; ".join(change.rule_change.what)
        title = f"{title[:1].upper()}{title[1:]}"
    else:
        title = f"{BEFORE_RUNS[change.kind]} {deployment_name(change.first_deployment)}"
    return PendingRow(change, title, reverse("admin:runs_changerequest_change", args=[change.pk]))


def row_of(row: Any, compare: Comparison) -> PendingRow:
    """Return the row of a request for runs; `row` is one of `first_runs`."""
    run_request: RunRequest = row
    change = run_request.change
    url = reverse("admin:runs_runrequest_change", args=[run_request.pk])
    if change.kind in inbox.WITH_OWN_PAGE:
        url = reverse("admin:runs_changerequest_change", args=[change.pk])
    names = ", ".join(map(deployment_name, row.names))
    title = names if row.spec_count == 1 else f"{plural(row.spec_count, 'run')} of {names}"
    if not visibility.can_view_parameters(compare.permissions, run_request):
        return PendingRow(change, title, url, run_request, note="Its parameters are hidden from you.")
    last = Run(**row.last_success) if row.last_success else None
    values, note = parameter_diff.masked_with_note(run_request)
    against = parameter_diff.columns(run_request.deployment, last, None)
    rows = parameter_diff.rows(values, run_request.deployment, against)
    secret = [each.name for each in rows if each.is_secret]
    # Secrets are never compared: a requester could guess one and read here whether the guess is right.
    changed = [difference(each) for each in rows if each.cells[-1].differs and not each.is_secret]
    flags = flags_of(run_request, compare.definition_flag(row))
    moving = [definition.moving_label(each) for each in run_request.spec.definition.get("moving", [])]
    return PendingRow(
        change,
        title,
        url,
        run_request,
        tuple(Difference(each.name, shorten(each.before), shorten(each.after)) for each in changed[:MOST_DIFFERENCES]),
        more=max(len(changed) - MOST_DIFFERENCES, 0),
        note="" if changed else same_as(against[-1]),
        # Code that is not pinned and secret values are displayed: its page says no more about them.
        flags=(
            *flags,
            *(f"not pinned: {shorten(label)}" for label in moving[:MOST_MOVING]),
            *([f"secret: {', '.join(secret)}"] if secret else []),
        ),
        tells_all=row.spec_count == 1
        and not (note or flags)
        and len(moving) <= MOST_MOVING
        and len(changed) <= MOST_DIFFERENCES
        and all(is_short(each) for each in changed),
    )


def flags_of(run_request: RunRequest, definition_flag: str) -> tuple[str, ...]:
    """Return what needs a closer look: an empty result means that the page of the request has no warning either."""
    change, spec = run_request.change, run_request.spec
    risk = change.policy.get("risk", Risk.LOW)
    found = [
        f"{risk} risk" if risk != Risk.LOW else "",
        "deletes data" if requests.is_destructive(run_request.deployment, spec.parameters) else "",
        definition_flag,
        "would be refused at launch" if launch_warnings.warnings(run_request, NOTHING) else "",
    ]
    return tuple(flag for flag in found if flag)


def same_as(column: parameter_diff.Column) -> str:
    return f"Parameters as in the {column.title.lower()}" if column.link else "Default parameters"


def difference(row: parameter_diff.Row) -> Difference:
    cell = row.cells[-1]
    before = "" if cell.text in (parameter_diff.NOT_GIVEN, parameter_diff.NO_DEFAULT) else cell.text
    return Difference(row.name, before, row.text)


def is_short(each: Difference) -> bool:
    return all(len(text) <= LONGEST_VALUE and "\n" not in text for text in (each.before, each.after))


def shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_VALUE else f"{line[: LONGEST_VALUE - 1]}…"
