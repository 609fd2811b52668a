"""Context of the page of a backfill: how far it is, its items, and what may be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, IntegerField, QuerySet, Value, When
from django.http import QueryDict

from flows import canonical
from flows import parameters as schemas
from flows.models import Deployment
from flows.wording import deployment_name, plural
from portal.admin.requests.allowed_actions import NOT_ALLOWED, Action
from portal.ui import freshness
from portal.ui.profile_settings import settings_of
from portal.ui.progress_bar import Part, progress_bar
from portal.ui.text import json_text
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.models import ChangeRequest, RunRequest, Verb
from runs.models.request import FAILURES, State
from runs.phases import phase_of
from runs.requests import visibility

ChangeState = ChangeRequest.State
ITEMS = 100
# Key -> label, colour, and the states of run requests in it; in the order of the bar.
PARTS: dict[str, tuple[str, str, tuple[State, ...]]] = {
    "completed": ("Completed", "green", (State.COMPLETED,)),
    "failed": ("Not completed", "red", tuple(FAILURES)),
    "running": ("Running", "blue", (State.LAUNCHED, State.LAUNCHING)),
    "queued": ("Queued", "amber", (State.APPROVED,)),
    "held": ("Waiting", "grey", (State.HELD,)),
    "never": ("Not started", "grey", (State.WITHDRAWN, State.REJECTED, State.EXPIRED)),
}
# What needs a person comes first.
ORDER = [*FAILURES, State.LAUNCHING, State.LAUNCHED, State.APPROVED, State.HELD, State.COMPLETED]
UNSENT = [State.HELD, State.APPROVED]
HELD_LABEL = "Waiting for its turn"


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item: `cells` are its values of the varied parameters by name, none where the reader cannot view them."""

    run_request: RunRequest
    number: int
    cells: list[tuple[str, str]]
    state_label: str
    state_colour: str
    message: str
    at: datetime | None


def context(
    change: ChangeRequest, by: Actor, permissions: Permissions, query: QueryDict, *, may_decide: bool
) -> dict[str, Any]:
    """Build the template context; `may_decide` also lets an approver see what they approve."""
    counts = dict(change.run_requests.order_by().values_list("state").annotate(number=Count("pk")))
    first = change.specs.select_related("deployment__environment__server__health").order_by("position").first()
    if first is None:
        return {}
    deployment = first.deployment
    sees = may_decide or sees_values(change, deployment, by, permissions)
    parameters = list(change.specs.order_by("position").values_list("parameters", flat=True)) if sees else []
    differ = varied(parameters)
    names = [name for name in schemas.public_parameters(deployment.parameter_schema) if name in differ]
    part = query.get("items", "")
    return {
        "backfill": change,
        "deployment": deployment,
        "spec": first,
        "profile": settings_of(first.profile),
        "badge": (shown := phase_of(change, [state for state, number in counts.items() if number])),
        "tone": shown.state_colour,
        "freshness": freshness.freshness_of([deployment.environment], "runs"),
        "parts": (found := parts(counts)),
        "bar": progress_bar(found),
        "total": sum(counts.values()),
        "done": sum(counts.get(state, 0) for state in PARTS["completed"][2]),
        "sees_inputs": sees,
        "names": names,
        "shared": shared(deployment, parameters, names, has_secrets=bool(first.sealed_parameters)) if sees else [],
        "part": part,
        "items": (page := items(change, part, query.get("page", "1"))),
        "rows": rows(page, deployment, names if sees else None, change, permissions),
        "page_links": page_links(page, part),
        **buttons(change, deployment, by, permissions, counts),
    }


def title_of(change: ChangeRequest) -> str:
    """Return what it runs: "Backfill: 12 runs of sales/daily in prod". A list counts the specs in its query."""
    number = getattr(change, "spec_count", None)
    name = getattr(change, "spec_name", None)
    if number is None or name is None:
        number = change.specs.count()
        name = change.specs.order_by("position").values_list("deployment_name", flat=True).first()
    return f"Backfill: {plural(number, 'run')} of {deployment_name(name or '')} in {change.environment_name}"


def sees_values(change: ChangeRequest, deployment: Deployment, by: Actor, permissions: Permissions) -> bool:
    return by.is_same_person_as(change.requested_by_id) or visibility.can_view_parameters(permissions, deployment)


def parts(counts: dict[str, int]) -> list[Part]:
    return [
        Part(key, label, tone, sum(counts.get(state, 0) for state in states))
        for key, (label, tone, states) in PARTS.items()
    ]


def varied(parameters: list[dict[str, Any]]) -> set[str]:
    """Return the parameters whose values differ between the items."""
    texts = [{name: canonical.text(value) for name, value in each.items()} for each in parameters]
    names = {name for each in parameters for name in each}
    return {name for name in names if len({each.get(name) for each in texts}) > 1}


def shared(
    deployment: Deployment, parameters: list[dict[str, Any]], names: list[str], *, has_secrets: bool
) -> list[tuple[str, str]]:
    """Return the values that all items have in common; secret ones are not among them, and said to be there."""
    values = {name: value for name, value in (parameters[0] if parameters else {}).items() if name not in names}
    masked = schemas.mask(deployment.parameter_schema, values)
    found = [(name, json_text(value)) for name, value in masked.items()]
    return [*found, ("secret values", schemas.MASK)] if has_secrets else found


def items(change: ChangeRequest, part: str, number: str) -> Page[RunRequest]:
    """Return one page of the items, those that need a person first."""
    place = Case(
        *(When(state=state, then=Value(index)) for index, state in enumerate(ORDER)),
        default=Value(len(ORDER)),
        output_field=IntegerField(),
    )
    found: QuerySet[RunRequest] = change.run_requests.select_related("spec", "run")
    if part in PARTS:
        found = found.filter(state__in=PARTS[part][2])
    return Paginator(found.order_by(place, "spec__position", "pk"), ITEMS).get_page(number)


def page_links(page: Page[RunRequest], part: str) -> dict[str, str]:
    def link(number: int) -> str:
        return f"?{urlencode({'items': part, 'page': number})}"

    return {
        "previous": link(page.previous_page_number()) if page.has_previous() else "",
        "next": link(page.next_page_number()) if page.has_next() else "",
    }


def rows(
    page: Page[RunRequest],
    deployment: Deployment,
    names: list[str] | None,
    change: ChangeRequest,
    permissions: Permissions,
) -> list[ItemRow]:
    """Return the items as the table shows them. Their messages quote what runs print, so they need a permission."""
    sees_messages = permissions.decide(Verb.SEE_LOGS, deployment).allowed
    found = []
    for run_request in page.object_list:
        masked = schemas.mask(deployment.parameter_schema, run_request.spec.parameters)
        cells = [(name, json_text(masked.get(name))) for name in names or ()]
        waits = run_request.state == State.HELD and change.state == ChangeState.APPROVED
        # One word for what is going on: that of its run as soon as there is one.
        shown = run_request.run if run_request.run and run_request.state == State.LAUNCHED else run_request
        ended = run_request.run.ended_at if run_request.run else run_request.run_ended_at
        found.append(
            ItemRow(
                run_request,
                run_request.spec.number,
                cells,
                HELD_LABEL if waits else shown.state_label,
                "grey" if waits else shown.state_colour,
                run_request.message if sees_messages or run_request.run is None else "",
                ended or run_request.launched_at,
            )
        )
    return found


def buttons(
    change: ChangeRequest, deployment: Deployment, by: Actor, permissions: Permissions, counts: dict[str, int]
) -> dict[str, Action]:
    """Return which buttons are shown."""
    is_own = by.is_same_person_as(change.requested_by_id)
    may_pace = is_own or permissions.decide(Verb.CANCEL, deployment).allowed
    is_going = change.state == ChangeState.APPROVED and any(counts.get(state) for state in UNSENT)
    may_retry = permissions.decide(Verb.RERUN, deployment).allowed or (
        is_own and permissions.decide(Verb.TRIGGER, deployment).allowed
    )
    return {
        "pause": Action(may_pace and is_going and not change.is_held_back),
        "resume": Action(may_pace and is_going and change.is_held_back),
        "cancel_rest": Action(may_pace and is_going),
        "retry_failed": Action(True) if may_retry and counts.get(State.FAILED) else NOT_ALLOWED,
    }
