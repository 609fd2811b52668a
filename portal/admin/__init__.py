"""The admin, one folder for each subject."""

# Importing a module registers its admin classes; Django's autodiscovery imports this package.
from portal.admin.access import admin as access_admin
from portal.admin.access import people
from portal.admin.agents import admin as agent_admin
from portal.admin.artifacts import admin as artifact_admin
from portal.admin.audit import admin as audit_admin
from portal.admin.bypasses import admin as bypass_admin
from portal.admin.chains import admin as chain_admin
from portal.admin.changes import admin as change_admin
from portal.admin.channels import admin as channel_admin
from portal.admin.deployments import admin as deployment_admin
from portal.admin.deployments import aliases
from portal.admin.drift import admin as drift_admin
from portal.admin.environments import admin as environment_admin
from portal.admin.event_rules import admin as event_rule_admin
from portal.admin.failures import admin as failure_admin
from portal.admin.flows import admin as flow_admin
from portal.admin.global_limits import admin as global_limit_admin
from portal.admin.governance import policy_admin, window_admin
from portal.admin.hooks import admin as hook_admin
from portal.admin.job_trusts import admin as job_trust_admin
from portal.admin.levels import admin as level_admin
from portal.admin.notification_rules import admin as notification_rule_admin
from portal.admin.notifications import admin as notification_admin
from portal.admin.presets import admin as preset_admin
from portal.admin.requests import admin as request_admin
from portal.admin.resource_profiles import admin as resource_profile_admin
from portal.admin.run_report import admin as run_report_admin
from portal.admin.runs import admin as run_admin
from portal.admin.schedules import admin as schedule_admin
from portal.admin.service_accounts import admin as service_account_admin
from portal.admin.tokens import admin as token_admin
from portal.admin.unassigned import admin as unassigned_admin
from portal.admin.work_pools import admin as work_pool_admin

__all__ = [
    "access_admin",
    "agent_admin",
    "aliases",
    "artifact_admin",
    "audit_admin",
    "bypass_admin",
    "chain_admin",
    "change_admin",
    "channel_admin",
    "deployment_admin",
    "drift_admin",
    "environment_admin",
    "event_rule_admin",
    "failure_admin",
    "flow_admin",
    "global_limit_admin",
    "hook_admin",
    "job_trust_admin",
    "level_admin",
    "notification_admin",
    "notification_rule_admin",
    "people",
    "policy_admin",
    "preset_admin",
    "request_admin",
    "resource_profile_admin",
    "run_admin",
    "run_report_admin",
    "schedule_admin",
    "service_account_admin",
    "token_admin",
    "unassigned_admin",
    "window_admin",
    "work_pool_admin",
]
