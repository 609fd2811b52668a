"""Models of runs, one subject per file."""

from runs.models.action import Action
from runs.models.agent import Agent, AgentStop, AgentUse
from runs.models.approval import Approval, BreakGlass, Comment
from runs.models.artifact import Artifact
from runs.models.audit import AuditCheckpoint, AuditEntry
from runs.models.bypass import Bypass
from runs.models.chain import Chain, ChainRun, ChainStep, ChainVersion, StepDecision
from runs.models.change_request import ChangeRequest
from runs.models.channel import Channel, Delivery
from runs.models.connection_test import ConnectionTest
from runs.models.day_count import DeploymentDayCount, EnvironmentDayCount
from runs.models.drift import Drift
from runs.models.email_settings import EmailSettings
from runs.models.event import EventCursor, FailedEvent, RunEvent
from runs.models.export import Export, ExportPart
from runs.models.failure import FailedRun, FailureAct, FailureDay, FailureGroup
from runs.models.grant import Grant, Scope, Selector, Verb
from runs.models.hook import Hook, HookDelivery, HookRefusal, HookSecret
from runs.models.job_trust import JobRefusal, JobTrust, JobTrustScope
from runs.models.notification import Notification, Subscription
from runs.models.notification_rule import Escalation, NotificationRule
from runs.models.outage import Outage
from runs.models.pin import Pin
from runs.models.policy import Freeze, Policy, Window
from runs.models.preset import Preset
from runs.models.queued_task import QueuedTask
from runs.models.reported_run import ReportedRun
from runs.models.request import RunRequest
from runs.models.resource_profile import ResourceProfile
from runs.models.rule import EventRule, RuleFiring
from runs.models.rule_change import RuleChange
from runs.models.run import LogLine, Run, Stall, StateChange, TaskRun
from runs.models.run_count import RunCount
from runs.models.run_spec import RunSpec
from runs.models.schedule import Schedule
from runs.models.service_level import Breach, ServiceLevel
from runs.models.sign_on import SignOnIdentity
from runs.models.sweep import Sweep
from runs.models.token import ServiceAccount, Token, TokenScope
from runs.models.version import RowVersion

__all__ = [
    "Action",
    "Agent",
    "AgentStop",
    "AgentUse",
    "Approval",
    "Artifact",
    "AuditCheckpoint",
    "AuditEntry",
    "Breach",
    "BreakGlass",
    "Bypass",
    "Chain",
    "ChainRun",
    "ChainStep",
    "ChainVersion",
    "ChangeRequest",
    "Channel",
    "Comment",
    "ConnectionTest",
    "Delivery",
    "DeploymentDayCount",
    "Drift",
    "EmailSettings",
    "EnvironmentDayCount",
    "Escalation",
    "EventCursor",
    "EventRule",
    "Export",
    "ExportPart",
    "FailedEvent",
    "FailedRun",
    "FailureAct",
    "FailureDay",
    "FailureGroup",
    "Freeze",
    "Grant",
    "Hook",
    "HookDelivery",
    "HookRefusal",
    "HookSecret",
    "JobRefusal",
    "JobTrust",
    "JobTrustScope",
    "LogLine",
    "Notification",
    "NotificationRule",
    "Outage",
    "Pin",
    "Policy",
    "Preset",
    "QueuedTask",
    "ReportedRun",
    "ResourceProfile",
    "RowVersion",
    "RuleChange",
    "RuleFiring",
    "Run",
    "RunCount",
    "RunEvent",
    "RunRequest",
    "RunSpec",
    "Schedule",
    "Scope",
    "Selector",
    "ServiceAccount",
    "ServiceLevel",
    "SignOnIdentity",
    "Stall",
    "StateChange",
    "StepDecision",
    "Subscription",
    "Sweep",
    "TaskRun",
    "Token",
    "TokenScope",
    "Verb",
    "Window",
]
