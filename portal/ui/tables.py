"""Tables inside pages, of rows that also have a list of their own."""

from __future__ import annotations

from typing import Any

import django_tables2
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from portal.ui import channel_labels, event_rule_labels, grant_labels, hook_labels, times, token_labels
from runs.automation.rule_dry_run import Item
from runs.errors import CODES
from runs.models import Delivery, Grant, Hook, HookDelivery, HookRefusal, RuleFiring, Run, RunRequest, Token

TEMPLATE = "portal/_table.html"


class RunTable(django_tables2.Table):
    """The most recent runs of a deployment."""

    state = django_tables2.Column(accessor="state_label")
    name = django_tables2.Column(
        "Run", empty_values=(), linkify=("admin:runs_run_change", {"object_id": django_tables2.A("pk")})
    )
    started_at = django_tables2.Column("Started", empty_values=())
    run_seconds = django_tables2.Column("Duration", attrs={"th": {"class": "is-number"}, "td": {"class": "is-number"}})

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "No runs recorded yet"

    def render_state(self, record: Run) -> str:
        return render_to_string("portal/_state.html", {"row": record})

    def render_name(self, record: Run) -> str:
        return str(record)

    def render_started_at(self, record: Run) -> SafeString:
        # A scheduled run has no start yet; its planned one keeps the column sorted as the query is.
        return times.relative_time(record.started_at or record.expected_start_at)

    def render_run_seconds(self, record: Run) -> SafeString | str:
        # `run_seconds` of an active run is as old as the last sync, so the browser counts on from the start.
        if record.started_at is None:
            return "-"
        return times.duration(record.run_seconds) if record.is_over else times.running_for(record.started_at)


class RequestTable(django_tables2.Table):
    """The last run requests of a schedule."""

    number = django_tables2.Column(
        "Request",
        accessor="pk",
        linkify=("admin:runs_runrequest_change", {"object_id": django_tables2.A("pk")}),
    )
    scheduled_for = django_tables2.Column("Due", empty_values=())
    state = django_tables2.Column(accessor="state_label")
    message = django_tables2.Column("Why", attrs={"td": {"class": "is-long"}})

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "No run was due yet"

    def render_scheduled_for(self, record: RunRequest) -> SafeString:
        return times.relative_time(record.scheduled_for)

    def render_state(self, record: RunRequest) -> str:
        return render_to_string("portal/_state.html", {"row": record.state_row})


class GrantTable(django_tables2.Table):
    """Grants, denying ones included."""

    subject = django_tables2.Column("Granted to")
    verbs = django_tables2.Column("Permissions")
    selector = django_tables2.Column("Scope")
    valid_until = django_tables2.Column("Expires", empty_values=())

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "No grants apply"

    def render_subject(self, record: Grant) -> str:
        return render_to_string("portal/grant/_subject.html", {"grant": record})

    def render_verbs(self, record: Grant) -> str:
        # The same template as in the list of grants, so that a deny looks the same everywhere.
        return render_to_string("portal/grant/_verbs.html", grant_labels.grant_row(record))

    def render_selector(self, record: Grant) -> str:
        return grant_labels.scope_label(record)

    def render_valid_until(self, record: Grant) -> Any:
        return times.relative_time(record.valid_until) if record.valid_until else "-"


class TokenTable(django_tables2.Table):
    """The tokens of a service account; select with them what `tokens.visible_to` selects."""

    name = django_tables2.Column(linkify=("admin:runs_token_change", {"object_id": django_tables2.A("pk")}))
    scopes = django_tables2.Column("Scopes", empty_values=())
    expires_at = django_tables2.Column("Expires")
    last_used_at = django_tables2.Column("Last used", empty_values=())
    state = django_tables2.Column("State", empty_values=())

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "No tokens"

    def render_name(self, record: Token) -> str:
        return render_to_string("portal/token/_name.html", {"token": record})

    def render_scopes(self, record: Token) -> str:
        labels = [token_labels.describe(scope) for scope in record.scopes.all()]
        return render_to_string("portal/token/_scopes.html", {"labels": labels})

    def render_expires_at(self, record: Token) -> str:
        return render_to_string("portal/token/_expires.html", {"token": record})

    def render_last_used_at(self, record: Token) -> str:
        return render_to_string("portal/token/_last_used.html", {"token": record})

    def render_state(self, record: Token) -> str:
        return render_to_string("portal/_state.html", {"row": token_labels.state_badge(record)})


class HookTable(django_tables2.Table):
    """The hooks of a service account; select with them what `hooks.visible_to` selects."""

    name = django_tables2.Column(linkify=("admin:runs_hook_change", {"object_id": django_tables2.A("pk")}))
    deployment = django_tables2.Column()
    kind = django_tables2.Column()
    state = django_tables2.Column("State", empty_values=())

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "No hooks"

    def render_name(self, record: Hook) -> str:
        return render_to_string("portal/hook/_name.html", {"hook": record})

    def render_deployment(self, record: Hook) -> str:
        return render_to_string("portal/hook/_deployment.html", {"hook": record})

    def render_state(self, record: Hook) -> str:
        return render_to_string("portal/_state.html", {"row": hook_labels.state_badge(record)})


class HookDeliveryTable(django_tables2.Table):
    """The last messages to a hook that were signed, and what each did."""

    received_at = django_tables2.Column("Received")
    outcome = django_tables2.Column()
    why = django_tables2.Column("What it did, or why not", empty_values=(), attrs={"td": {"class": "is-long"}})
    message_id = django_tables2.Column("Message", attrs={"td": {"class": "is-long"}})
    size = django_tables2.Column("Bytes", attrs={"th": {"class": "is-number"}, "td": {"class": "is-number"}})
    attempts = django_tables2.Column("Sent", attrs={"th": {"class": "is-number"}, "td": {"class": "is-number"}})
    address = django_tables2.Column("From")

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "No deliveries"

    def render_received_at(self, record: HookDelivery) -> SafeString:
        return times.relative_time(record.received_at)

    def render_outcome(self, record: HookDelivery) -> str:
        return render_to_string("portal/_state.html", {"row": hook_labels.outcome_badge(record)})

    def render_why(self, record: HookDelivery) -> str:
        return render_to_string("portal/hook/_why.html", {"delivery": record})


class DeliveryTable(django_tables2.Table):
    """The last messages to a channel, and what the other side answered."""

    queued_at = django_tables2.Column("Queued")
    state = django_tables2.Column()
    subject = django_tables2.Column(
        "Message",
        accessor="notification__subject",
        linkify=(
            "admin:runs_channel_delivery",
            {"pk": django_tables2.A("channel_id"), "number": django_tables2.A("pk")},
        ),
        attrs={"td": {"class": "is-long"}},
    )
    answer = django_tables2.Column(empty_values=(), attrs={"td": {"class": "is-long"}})
    attempts = django_tables2.Column(attrs={"th": {"class": "is-number"}, "td": {"class": "is-number"}})

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "No messages yet"

    def render_queued_at(self, record: Delivery) -> SafeString:
        return times.relative_time(record.queued_at)

    def render_state(self, record: Delivery) -> str:
        return render_to_string("portal/_state.html", {"row": channel_labels.delivery_badge(record)})

    def render_answer(self, record: Delivery) -> str:
        answer = f"{record.status} {record.answer}".strip() if record.status else ""
        return record.message or answer or "-"


class HookRefusalTable(django_tables2.Table):
    """How many messages a hook refused, by day and reason."""

    day = django_tables2.Column()
    code = django_tables2.Column("Reason", attrs={"td": {"class": "is-long"}})
    number = django_tables2.Column("Messages", attrs={"th": {"class": "is-number"}, "td": {"class": "is-number"}})
    last_at = django_tables2.Column("Last")
    last_address = django_tables2.Column("Last from")

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "None"

    def render_code(self, record: HookRefusal) -> str:
        return CODES.get(record.code, record.code)

    def render_last_at(self, record: HookRefusal) -> SafeString:
        return times.relative_time(record.last_at)


class RuleFiringTable(django_tables2.Table):
    """What events did with an event rule; select `run_request` with them."""

    matched_at = django_tables2.Column("Seen")
    outcome = django_tables2.Column()
    why = django_tables2.Column("What it did, or why not", empty_values=(), attrs={"td": {"class": "is-long"}})
    source = django_tables2.Column("Event", attrs={"td": {"class": "is-long"}})
    events = django_tables2.Column("Events", attrs={"th": {"class": "is-number"}, "td": {"class": "is-number"}})

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "No events yet"

    def render_matched_at(self, record: RuleFiring) -> SafeString:
        return times.relative_time(record.matched_at)

    def render_outcome(self, record: RuleFiring) -> str:
        return render_to_string("portal/_state.html", {"row": event_rule_labels.outcome_badge(record)})

    def render_why(self, record: RuleFiring) -> str:
        return render_to_string("portal/event_rule/_why.html", {"firing": record})

    def render_source(self, record: RuleFiring) -> str:
        return render_to_string("portal/event_rule/_source.html", {"firing": record})


class DryRunTable(django_tables2.Table):
    """What the events of the last day would have done with an event rule."""

    at = django_tables2.Column("Happened")
    result = django_tables2.Column("It would")
    why = django_tables2.Column("Parameters, or why not", empty_values=(), attrs={"td": {"class": "is-long"}})
    source = django_tables2.Column("Event", attrs={"td": {"class": "is-long"}})

    class Meta:
        orderable = False
        template_name = TEMPLATE
        empty_text = "Nothing happened that this rule waits for"

    def render_at(self, record: Item) -> SafeString:
        return times.relative_time(record.at)

    def render_result(self, record: Item) -> str:
        return render_to_string("portal/_state.html", {"row": event_rule_labels.result_badge(record)})

    def render_why(self, record: Item) -> str:
        return render_to_string("portal/event_rule/_would.html", {"item": record, "parameters": record.parameters})
