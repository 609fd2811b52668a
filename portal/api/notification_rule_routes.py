"""Routes of notification rules: one's own, and those of one's groups to read."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, cast

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema, Status

from portal.api import paging
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS
from runs import names
from runs.models import NotificationRule
from runs.models.notification import Topic
from runs.notifications import notification_rules

router = Router(tags=["Notification rules"])
# A name of its own: the description of the API has one component for each name.
NotificationTopic = Literal[
    "waiting",
    "answered",
    "own ended",
    "own failed",
    "failed",
    "recovered",
    "cancelled",
    "failure",
    "level",
    "late",
    "overrun",
    "stalled",
    "stopped",
    "definition",
    "break glass",
    "freeze",
    "server",
    "drift",
    "schedule",
    "schedule drift",
    "rules",
    "bypass",
]
RuleFilters = paging.filters_of(notification_rules.NOTIFICATION_RULES)


class NotificationRuleRow(paging.Row):
    id: int
    name: str
    person: str | None = Field(description="User name; null for a rule of a group or a channel.")
    group: str | None
    channel: str | None
    topics: list[NotificationTopic]
    environment: str | None = Field(description="Null for all environments.")
    deployment: str = Field(description="Full name; empty for all deployments.")
    flow: str
    tag: str
    after_minutes: int = Field(description="Only requests that nobody has decided after so many minutes; 0 is all.")
    created_at: datetime
    created_by: str
    removed_at: datetime | None
    url: str

    @classmethod
    def of(cls, row: NotificationRule) -> NotificationRuleRow:
        return cls(
            id=row.pk,
            name=row.name,
            person=row.person.get_username() if row.person else None,
            group=row.group.name if row.group else None,
            channel=row.channel.name if row.channel else None,
            topics=[cast("NotificationTopic", topic) for topic in row.topics if topic in Topic.values],
            environment=row.environment.slug if row.environment else None,
            deployment=row.full_name,
            flow=row.flow_name,
            tag=row.tag,
            after_minutes=row.after_minutes,
            created_at=row.created_at,
            created_by=row.created_by_name,
            removed_at=row.removed_at,
            url=link("runs_notificationrule_change", row.pk),
        )


class NewNotificationRule(Schema):
    model_config = body(name="Nightly loads", topics=["failed", "recovered"], environment="prod", tag="nightly")

    name: str = Field(max_length=notification_rules.LONGEST_NAME)
    topics: list[NotificationTopic] = Field(min_length=1)
    environment: str = Field("", max_length=40, description="Empty for all environments.")
    deployment: str = Field("", max_length=601, description="Full name; empty for all deployments.")
    flow: str = Field("", max_length=300)
    tag: str = Field("", max_length=300)
    after_minutes: int = Field(
        0, ge=0, le=notification_rules.MOST_MINUTES, description="With the topic waiting alone; 0 is at once."
    )


class NotificationRuleRemoval(Schema):
    model_config = body(reason="The load was retired")

    reason: str = Field("", max_length=1000)


@router.get(
    "/notification-rules",
    response={200: paging.page_of(NotificationRuleRow), **PROBLEMS},
    summary="List notification rules",
)
def list_notification_rules(request: HttpRequest, query: Query[RuleFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List your rules and those of your groups, the newest first.

    Tokens that read the whole audit trail list those of all groups and channels.
    """
    listing = notification_rules.NOTIFICATION_RULES
    return paging.answer(request, listing, query, NotificationRuleRow, NotificationRuleRow.of)


@router.post(
    "/notification-rules", response={201: NotificationRuleRow, **PROBLEMS}, summary="Create a notification rule"
)
@idempotent
def create_notification_rule(request: HttpRequest, payload: NewNotificationRule) -> Status[NotificationRuleRow]:
    """It is for yourself; administrators create those of groups in the portal. To change one, create another."""
    by = actor_of(request)
    made = notification_rules.create(
        payload.name,
        payload.topics,
        by=by,
        environment=names.environment(payload.environment, by=by) if payload.environment else None,
        full_name=payload.deployment,
        flow_name=payload.flow,
        tag=payload.tag,
        after_minutes=payload.after_minutes,
    )
    return Status(201, NotificationRuleRow.of(made))


@router.post(
    "/notification-rules/{number}/remove",
    response={200: NotificationRuleRow, **PROBLEMS},
    summary="Remove a notification rule",
)
@idempotent
def remove_notification_rule(
    request: HttpRequest, number: int, payload: NotificationRuleRemoval
) -> NotificationRuleRow:
    by = actor_of(request)
    found = one(notification_rules.NOTIFICATION_RULES.rows(by), "notification rule", pk=number)
    return NotificationRuleRow.of(notification_rules.remove(found, by=by, reason=payload.reason))
