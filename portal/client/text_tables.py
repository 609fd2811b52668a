"""Which columns of a row a table shows, and in which style a state stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .answers import Deployment, Environment, InboxChange, Preset, Run, RunRequest
from .chain_answers import Chain
from .channel_answers import Channel, Delivery
from .drift_answers import Drift, DriftLine
from .event_rule_answers import EventRule, RuleDryRunItem, RuleFiring
from .failure_answers import Failure
from .flow_answers import Flow, FlowPlace
from .level_answers import Breach, ServiceLevel
from .message_answers import Notification
from .notification_answers import NotificationRule
from .pool_answers import ConcurrencyLimit, WorkPool, WorkQueue
from .profile_answers import ResourceProfile
from .rule_answers import AuditEntry, Bypass, Grant, UnassignedDeployment, WhoCan, WindowHours
from .schedule_answers import Schedule

type Column = tuple[str, Callable[[Any], object]]


def deployment_names(row: InboxChange) -> str:
    return ", ".join(sorted({each.deployment for each in row.requests})) or row.kind


def percentage(share: float | None) -> str:
    # Rounded down: 100% means that nothing failed.
    return "" if share is None else f"{int(share * 1000) / 10:.1f}%"


def selection(row: Grant | WindowHours) -> str:
    """Return what a grant or a window is for, beside its environment."""
    parts = {"flow": row.flow, "deployment": row.deployment, "tag": row.tag}
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value) or "all"


COLUMNS: dict[type[Any], list[Column]] = {
    EventRule: [
        ("key", lambda row: row.key),
        ("name", lambda row: row.name),
        ("when", lambda row: row.trigger),
        ("environment", lambda row: row.environment),
        ("runs", lambda row: row.deployment),
        ("enabled", lambda row: row.is_enabled),
    ],
    RuleFiring: [
        ("seen", lambda row: row.matched_at),
        ("outcome", lambda row: row.outcome),
        ("request", lambda row: row.request),
        ("events", lambda row: row.events),
        ("what happened", lambda row: row.source),
        ("why not", lambda row: row.message),
    ],
    RuleDryRunItem: [
        ("happened", lambda row: row.at),
        ("would", lambda row: row.result),
        ("what happened", lambda row: row.source),
        ("parameters", lambda row: row.parameters),
        ("why not", lambda row: row.why),
    ],
    Environment: [
        ("environment", lambda row: row.name),
        ("health", lambda row: row.health),
        ("checked", lambda row: row.checked_at),
        ("protected", lambda row: row.is_protected),
        ("approval", lambda row: row.needs_approval),
        ("reason", lambda row: row.needs_reason),
        ("description", lambda row: row.description),
    ],
    Deployment: [
        ("environment", lambda row: row.environment),
        ("deployment", lambda row: row.name),
        ("alias", lambda row: row.aliases),
        ("status", lambda row: row.status),
        ("paused", lambda row: row.is_paused),
        ("tags", lambda row: row.tags),
        ("work pool", lambda row: row.work_pool),
        ("description", lambda row: row.description.partition("\n")[0][:80]),
    ],
    Flow: [
        ("flow", lambda row: row.name),
        ("environments", lambda row: [each.environment for each in row.environments]),
        ("deployments", lambda row: sum(each.deployments for each in row.environments)),
        ("completed", lambda row: row.completed),
        ("failed", lambda row: row.failed),
        ("success", lambda row: percentage(row.success_rate)),
        ("last run", lambda row: row.last_run_at),
        ("last state", lambda row: row.last_run_state),
    ],
    FlowPlace: [
        ("environment", lambda row: row.environment),
        ("deployments", lambda row: row.deployments),
        ("completed", lambda row: row.completed),
        ("failed", lambda row: row.failed),
        ("cancelled", lambda row: row.cancelled),
        ("success", lambda row: percentage(row.success_rate)),
    ],
    WorkPool: [
        ("environment", lambda row: row.environment),
        ("work pool", lambda row: row.name),
        ("type", lambda row: row.type),
        ("paused", lambda row: row.is_paused),
        ("workers online", lambda row: row.workers_online),
        ("workers", lambda row: len(row.workers)),
        ("limit", lambda row: row.concurrency_limit),
    ],
    ConcurrencyLimit: [
        ("number", lambda row: row.id),
        ("environment", lambda row: row.environment),
        ("name", lambda row: row.name),
        ("slots in use", lambda row: row.active_slots),
        ("limit", lambda row: row.concurrency_limit),
        ("active", lambda row: row.is_active),
        ("read", lambda row: row.synced_at),
    ],
    ResourceProfile: [
        ("environment", lambda row: row.environment),
        ("profile", lambda row: row.name),
        ("for", lambda row: row.pool or f"type {row.type}"),
        ("sets", lambda row: row.job_variables),
        ("work queue", lambda row: row.work_queue),
        ("groups", lambda row: row.groups),
        ("description", lambda row: row.description),
    ],
    WorkQueue: [
        ("queue", lambda row: row.name),
        ("priority", lambda row: row.priority),
        ("paused", lambda row: row.is_paused),
        ("limit", lambda row: row.concurrency_limit),
        ("waiting", lambda row: row.runs.waiting),
        ("late", lambda row: row.runs.late),
        ("active", lambda row: row.runs.active),
        ("last polled", lambda row: row.last_polled_at),
    ],
    Chain: [
        ("environment", lambda row: row.environment),
        ("chain", lambda row: row.name),
        ("steps", lambda row: row.steps),
        ("version", lambda row: row.version),
        ("enabled", lambda row: row.is_enabled),
        ("owner", lambda row: row.owner),
        ("ends", lambda row: row.valid_until),
        ("last requested", lambda row: row.last_requested_at),
        ("id", lambda row: row.id),
    ],
    Run: [
        ("environment", lambda row: row.environment),
        ("run", lambda row: row.name),
        ("deployment", lambda row: row.deployment),
        ("state", lambda row: row.state_name),
        ("stalled", lambda row: row.stalled),
        ("request", lambda row: row.request),
        ("requested by", lambda row: row.requested_by),
        ("started", lambda row: row.started_at),
        ("seconds", lambda row: row.seconds),
        ("id", lambda row: row.id),
    ],
    RunRequest: [
        ("request", lambda row: row.id),
        ("environment", lambda row: row.environment),
        ("deployment", lambda row: row.deployment),
        ("state", lambda row: row.state_name),
        ("requested by", lambda row: row.requested_by),
        ("requested", lambda row: row.requested_at),
    ],
    InboxChange: [
        ("change", lambda row: row.id),
        ("environment", lambda row: row.environment),
        ("deployment", deployment_names),
        ("requested by", lambda row: row.requested_by),
        ("reason", lambda row: row.reason),
        ("ticket", lambda row: row.ticket),
        ("risk", lambda row: row.risk),
        ("changed", lambda row: row.changed),
        ("not pinned", lambda row: row.not_pinned),
        ("expires", lambda row: row.expires_at),
    ],
    Preset: [
        ("number", lambda row: row.id),
        ("environment", lambda row: row.environment),
        ("deployment", lambda row: row.deployment),
        ("preset", lambda row: row.name),
        ("owner", lambda row: row.owner),
        ("shared", lambda row: row.is_shared),
        ("problems", lambda row: [each.field for each in row.problems]),
    ],
    Schedule: [
        ("schedule", lambda row: row.id),
        ("environment", lambda row: row.environment),
        ("deployment", lambda row: row.deployment),
        ("name", lambda row: row.name),
        ("rule", lambda row: f"{row.rule} {row.time_zone}"),
        ("state", lambda row: row.state),
        ("next start", lambda row: row.next_due),
        ("owner", lambda row: row.owner),
        ("ends", lambda row: row.valid_until),
    ],
    Failure: [
        ("failure", lambda row: row.id),
        ("environment", lambda row: row.environment),
        ("deployment", lambda row: row.deployment),
        ("task", lambda row: row.task),
        ("state", lambda row: row.state),
        ("owner", lambda row: row.owner),
        ("failures", lambda row: row.failures),
        ("last", lambda row: row.last_seen_at),
        ("reason", lambda row: row.reason[:80]),
    ],
    Bypass: [
        ("environment", lambda row: row.environment),
        ("kind", lambda row: row.kind),
        ("name", lambda row: row.name),
        ("details", lambda row: row.detail),
        ("found", lambda row: row.found_at),
        ("gone", lambda row: row.gone_at),
    ],
    Drift: [
        ("deployment", lambda row: row.left.deployment),
        ("environments", lambda row: f"{row.left.environment}, {row.right.environment}"),
        ("differs in", lambda row: row.differs_in),
        ("newest since", lambda row: row.changed_at),
    ],
    DriftLine: [
        ("difference", lambda row: row.difference),
        ("environment", lambda row: row.environment),
        ("since", lambda row: row.since),
        ("changed in", lambda row: row.changed),
    ],
    UnassignedDeployment: [
        ("name", lambda row: row.name),
        ("stays in", lambda row: row.environment),
        ("in scope of", lambda row: ", ".join(row.in_scope_of)),
        ("work pool", lambda row: row.work_pool),
        ("tags", lambda row: ", ".join(row.tags)),
        ("found", lambda row: row.found_at),
    ],
    ServiceLevel: [
        ("level", lambda row: row.id),
        ("environment", lambda row: row.environment),
        ("for", lambda row: row.deployment or (f"tag {row.tag}" if row.tag else "all")),
        ("breached if", lambda row: row.sentence),
        ("owner", lambda row: row.owner),
    ],
    Breach: [
        ("level", lambda row: row.level),
        ("environment", lambda row: row.environment),
        ("deployment", lambda row: row.deployment),
        ("breached", lambda row: row.sentence),
        ("opened", lambda row: row.opened_at),
        ("cleared", lambda row: row.cleared_at),
    ],
    NotificationRule: [
        ("rule", lambda row: row.id),
        ("name", lambda row: row.name),
        ("for", lambda row: row.person or (f"channel:{row.channel}" if row.channel else f"group:{row.group}")),
        ("topics", lambda row: row.topics),
        ("environment", lambda row: row.environment or "all"),
        ("where", lambda row: row.deployment or row.flow or (f"tag {row.tag}" if row.tag else "all")),
    ],
    Notification: [
        ("number", lambda row: row.id),
        ("created", lambda row: row.created_at),
        ("environment", lambda row: row.environment or ""),
        ("notification", lambda row: row.subject),
        ("read", lambda row: row.read_at),
    ],
    Channel: [
        ("channel", lambda row: row.id),
        ("name", lambda row: row.name),
        ("kind", lambda row: row.kind),
        ("to", lambda row: row.destination),
        ("enabled", lambda row: row.is_enabled),
        ("failed attempts", lambda row: row.failures),
        ("why disabled", lambda row: row.disabled_why),
    ],
    Delivery: [
        ("delivery", lambda row: row.id),
        ("queued", lambda row: row.queued_at),
        ("to", lambda row: row.channel or "email"),
        ("notification", lambda row: row.subject),
        ("state", lambda row: row.state),
        ("attempts", lambda row: row.attempts),
        ("status", lambda row: row.status),
        ("answer", lambda row: row.message or row.answer),
    ],
    WhoCan: [
        ("verb", lambda row: row.verb),
        ("allowed", lambda row: [each.name for each in row.allowed]),
        ("denied", lambda row: row.denied),
    ],
    Grant: [
        ("grant", lambda row: row.id),
        ("to", lambda row: row.person or f"group:{row.group}"),
        ("effect", lambda row: row.effect),
        ("verbs", lambda row: row.verbs),
        ("environment", lambda row: row.environment or "all unprotected"),
        ("for", selection),
        ("until", lambda row: row.valid_until),
        ("revoked", lambda row: row.revoked_at),
    ],
    WindowHours: [
        ("window", lambda row: row.name),
        ("effect", lambda row: row.effect),
        ("for", selection),
        ("begins", lambda row: f"{row.cron} {row.time_zone}"),
        ("minutes", lambda row: row.minutes),
        ("open", lambda row: row.is_open),
        ("changes", lambda row: row.changes_at),
    ],
    AuditEntry: [
        ("entry", lambda row: row.sequence),
        ("at", lambda row: row.at),
        ("actor", lambda row: row.actor),
        ("verb", lambda row: row.verb),
        ("subject", lambda row: row.subject or f"{row.subject_kind} {row.subject_id}"),
        ("environment", lambda row: row.environment),
        ("outcome", lambda row: row.outcome),
        ("reason", lambda row: row.reason or row.message),
    ],
}

# Label of a state in lower case -> style
STATE_STYLES = {
    **dict.fromkeys(("completed", "up", "done", "resolved"), "green"),
    **dict.fromkeys(("failed", "crashed", "down", "lost", "refused", "refused at launch", "new", "regressed"), "red"),
    **dict.fromkeys(("running", "launched", "launching", "queued"), "blue"),
    **dict.fromkeys(("waiting for approval", "pending", "late", "unknown", "cancelling", "known"), "yellow"),
    **dict.fromkeys(("cancelled", "withdrawn", "expired", "rejected", "muted"), "dim"),
}
