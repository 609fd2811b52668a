"""Every entry point for actions, and the expected result for each role."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib import admin
from django.core.management import get_commands

from tests.governance.attempts import (
    AGENT,
    CHAIN,
    CHAIN_RUN,
    CHANNEL,
    CONFIRMED,
    CONNECTION,
    ENVIRONMENT,
    GRANT,
    HOOK,
    LEVEL,
    NAME,
    PASSWORD,
    PERSON,
    POLICY,
    PROFILE,
    RULE,
    SERVICE_ACCOUNT,
    WINDOW,
    Door,
    act,
    all_stopped,
    ask,
    ask_backfill,
    ask_schedule,
    at_gate,
    create_token,
    delete_own_pin,
    delete_own_view,
    end_own_session,
    frozen,
    full_name,
    message,
    order,
    press,
    press_delivery,
    press_own,
    press_queue,
    press_schedule,
    remove_own_address,
    request_link,
    run_id,
    secret,
    seen,
    sign_in,
    sign_in_again,
    sign_on,
    sign_selected,
    slug,
    tomorrow,
    trust_job,
    unapproved,
    use_link,
)

# URLs that only display, whatever is sent to them; `{model}` stands for each that the admin knows.
LOOKS = {
    *("", "health/live", "health/ready", "admin/", "admin/nowhere/", "admin/flows/", "admin/runs/", "admin/auth/"),
    *("admin/jsi18n/", "admin/autocomplete/", "admin/search/", "admin/live/", "admin/monitoring/"),
    # It sets a cookie.
    "admin/sign-on/",
    # It changes nothing but the reader's session.
    "admin/first-steps/hide/",
    *("admin/password_reset/done/", "admin/reset/done/"),
    *("admin/password_change/done/", "admin/r/<path:content_type_id>/<path:object_id>/"),
    *("{model}", "{model}<path:object_id>/", "{model}<path:object_id>/history/"),
    *("admin/runs/run/<int:pk>/log/", "admin/runs/run/<int:pk>/log.txt", "admin/runs/artifact/<int:pk>/frame/"),
    "admin/profile/",
    *("admin/help/", "admin/help/<slug:slug>/", "admin/about/"),
    # It changes nothing but what is new to its reader.
    "admin/runs/notification/read/",
    *("admin/runs/grant/mine/", "admin/runs/grant/why/", "admin/runs/runrequest/<int:pk>/status.json"),
    *("admin/flows/environment/<int:pk>/calendar/", "admin/runs/auditentry/exports/"),
    "admin/flows/deployment/<int:pk>/run/choices/",
    *("admin/flows/deployment/<int:pk>/run/choices/", "admin/flows/deployment/<int:pk>/run/link/"),
    "admin/runs/schedule/calendar/",
    # What is typed in a form, read back.
    *("admin/runs/schedule/reading/", "admin/runs/window/reading/", "admin/runs/policy/warning/"),
    *(f"admin/runs/{model}/matches/" for model in ("grant", "policy", "window")),
    "admin/runs/grant/matrix/",
    "admin/flows/environment/test/<int:pk>/",
    *("admin/runs/run/compare/", "admin/runs/run/results/<uuid:key>/"),
    "admin/runs/runrequest/results/<uuid:key>/",
    "admin/runs/auditentry/<path:object_id>/change/",
    "admin/runs/eventrule/<int:pk>/dry-run/",
    "admin/flows/deployment/<int:pk>/drift/",
    "admin/runs/channel/<int:pk>/deliveries/<int:number>/",
    "admin/runs/auditentry/exports/<int:pk>/download/",
}
# Django would create these; no role can use them.
SHUT = {
    *(
        f"admin/{model}/add/"
        for model in (
            "flows/deployment",
            "flows/flow",
            "flows/workpool",
            "runs/run",
            "runs/runrequest",
            "runs/auditentry",
        )
    ),
    *(
        f"admin/{model}/<path:object_id>/delete/"
        for model in ("flows/deployment", "flows/flow", "flows/workpool", "runs/grant", "auth/user")
    ),
    *(f"admin/runs/{model}/<path:object_id>/delete/" for model in ("run", "runrequest", "auditentry", "artifact")),
    *("admin/auth/group/<path:object_id>/delete/", "admin/runs/artifact/add/", "admin/runs/notification/add/"),
    *(f"admin/runs/{model}/<path:object_id>/delete/" for model in ("policy", "window", "notification")),
    "admin/runs/notification/<path:object_id>/change/",
    *(f"admin/{model}/<path:object_id>/change/" for model in ("flows/deployment", "flows/flow", "flows/workpool")),
    *(f"admin/{model}/<path:object_id>/change/" for model in ("runs/grant", "runs/run")),
    *(f"admin/runs/{model}/<path:object_id>/change/" for model in ("runrequest", "changerequest", "artifact")),
    *(f"admin/runs/token/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/hook/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/channel/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/eventrule/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/rulefiring/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/jobtrust/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *("admin/runs/serviceaccount/<path:object_id>/delete/", "admin/runs/agent/<path:object_id>/delete/"),
    *(f"admin/flows/unassigneddeployment/{name}/" for name in ("add", "<path:object_id>/delete")),
    "admin/flows/unassigneddeployment/<path:object_id>/change/",
    *(f"admin/runs/bypass/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/reportedrun/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/drift/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/preset/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/schedule/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/failuregroup/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/chain/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/servicelevel/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/notificationrule/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/flows/globallimit/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *(f"admin/runs/resourceprofile/{name}/" for name in ("add", "<path:object_id>/delete", "<path:object_id>/change")),
    *("admin/runs/changerequest/add/", "admin/runs/changerequest/<path:object_id>/delete/"),
}
# Commands that act on no request of anybody: they look, or whoever runs them has the machine and the database anyway.
NOT_DOORS = {
    *("health", "events", "verify_audit", "follow", "qcluster", "sync_periodic"),
    *("new_database", "sync", "deploy", "dev", "open_prefect"),
    *(
        "secure_audit",
        "retire_audit",
        "new_administrator",
        "rotate_keys",
        "demo",
        "demo_cast",
        "demo_story",
    ),
}

# What it is called -> a list that can be downloaded.
DOWNLOADED = {
    "runs": "runs_run",
    "requests": "runs_runrequest",
    "artifacts": "runs_artifact",
    "deployments": "flows_deployment",
    "work pools": "flows_workpool",
    "failures": "runs_failuregroup",
    "bypasses": "runs_bypass",
    "the run report": "runs_reportedrun",
    "environment drift": "runs_drift",
    "unassigned deployments": "flows_unassigneddeployment",
    "service levels": "runs_servicelevel",
    "resource profiles": "runs_resourceprofile",
    "concurrency limits": "flows_globallimit",
}

# entry point -> how to use it and, for each of ROLES, the result in dev and in prod
DOORS: dict[str, Door] = {
    "sign in, by page": Door("admin/login/", sign_in),
    "sign in with the provider, by page": Door("admin/sign-on/return/", sign_on),
    "sign in again for a link, by page": Door("admin/sign-in-again/", sign_in_again),
    "sign out, by page": Door("admin/logout/", press("logout")),
    "change one's own password, by page": Door(
        "admin/password_change/",
        press(
            "password_change", old_password=PASSWORD, new_password1="Xk7-long-enough", new_password2="Xk7-long-enough"
        ),
    ),
    "request a link for a new password, by page": Door("admin/password_reset/", request_link),
    "choose a new password by a link, by page": Door("admin/reset/<uidb64>/<token>/", use_link),
    "request a run, by page": Door("admin/flows/deployment/<int:pk>/run/", ask("flows_deployment_run")),
    "request a quick run, by page": Door(
        "admin/flows/deployment/<int:pk>/quick-run/", ask("flows_deployment_quick_run")
    ),
    "save a preset, by page": Door(
        "admin/flows/deployment/<int:pk>/run/save-preset/",
        press("flows_deployment_save_preset", "deployment", preset_name="new", **{"parameters-month": "2026-10"}),
    ),
    "rename a preset, by page": Door(
        "admin/runs/preset/<int:pk>/rename/", press("runs_preset_rename", "shared_preset", name="new")
    ),
    "share a preset, by page": Door("admin/runs/preset/<int:pk>/share/", press("runs_preset_share", "preset")),
    "stop sharing a preset, by page": Door(
        "admin/runs/preset/<int:pk>/unshare/", press("runs_preset_unshare", "shared_preset")
    ),
    "delete a preset, by page": Door(
        "admin/runs/preset/<int:pk>/remove/", press("runs_preset_remove", "shared_preset")
    ),
    "request a backfill, by page": Door("admin/flows/deployment/<int:pk>/backfill/", ask_backfill),
    **{
        f"{name} a backfill, by page": Door(
            f"admin/runs/changerequest/<int:pk>/{route.replace('_', '-')}/",
            press(f"runs_changerequest_{route}", "backfill", reason="r"),
        )
        for name, route in (("resume", "resume"), ("pause", "pause"), ("cancel the rest of", "cancel_rest"))
    },
    "retry what failed of a backfill, by page": Door(
        "admin/runs/changerequest/<int:pk>/retry-failed/",
        unapproved(press("runs_changerequest_retry_failed", "backfill", reason="r")),
    ),
    "request a schedule, by page": Door("admin/flows/deployment/<int:pk>/schedule/", ask_schedule),
    **{
        f"{act} a schedule, by page": Door(
            f"admin/runs/schedule/<int:pk>/{act}/", press(f"runs_schedule_{act}", subject, reason="r")
        )
        for act, subject in (("pause", "schedule"), ("resume", "paused_schedule"), ("end", "schedule"))
    },
    "put back a schedule, by page": Door(
        "admin/runs/schedule/<int:pk>/put_back/", press("runs_schedule_put_back", "native_schedule", reason="r")
    ),
    "define a chain, by page": Door("admin/runs/chain/new/", press("runs_chain_new", **CHAIN)),
    "change a chain, by page": Door(
        "admin/runs/chain/<int:pk>/edit/", press("runs_chain_edit", "chain", **{**CHAIN, "name": "renamed"})
    ),
    "run a chain, by page": Door("admin/runs/chain/<int:pk>/run/", press("runs_chain_run", "chain", **CHAIN_RUN)),
    "enable a chain, by page": Door("admin/runs/chain/<int:pk>/enable/", press("runs_chain_enable", "chain")),
    "disable a chain, by page": Door(
        "admin/runs/chain/<int:pk>/disable/", press("runs_chain_disable", "chain", reason="r")
    ),
    "let a step of a chain start, by page": Door(
        "admin/runs/changerequest/<int:pk>/let-go/",
        press("runs_changerequest_let_go", "chain_run", step=at_gate, reason="r"),
    ),
    "reject a step of a chain, by page": Door(
        "admin/runs/changerequest/<int:pk>/reject-step/",
        press("runs_changerequest_reject_step", "chain_run", step=at_gate, reason="r"),
    ),
    "pause a deployment, by page": Door(
        "admin/flows/deployment/<int:pk>/pause/", press("flows_deployment_pause", "deployment", reason="r")
    ),
    "resume a deployment, by page": Door(
        "admin/flows/deployment/<int:pk>/resume/", press("flows_deployment_resume", "paused", reason="r")
    ),
    "pause one schedule of a deployment, by page": Door(
        "admin/flows/deployment/<int:pk>/schedules/<uuid:schedule>/pause/",
        press_schedule("flows_deployment_pause_schedule", "going", reason="r"),
    ),
    "resume one schedule of a deployment, by page": Door(
        "admin/flows/deployment/<int:pk>/schedules/<uuid:schedule>/resume/",
        press_schedule("flows_deployment_resume_schedule", "held", reason="r"),
    ),
    "change the limit of a deployment, by page": Door(
        "admin/flows/deployment/<int:pk>/limits/",
        press("flows_deployment_limits", "deployment", concurrency_limit="5", reason="r", confirm=slug),
    ),
    "pin a deployment, by page": Door(
        "admin/flows/deployment/<int:pk>/pin/", press("flows_deployment_pin", "deployment")
    ),
    "unpin a deployment, by page": Door("admin/flows/deployment/<int:pk>/unpin/", delete_own_pin),
    "assign a deployment, by page": Door(
        "admin/flows/unassigneddeployment/<int:pk>/assign/",
        press("flows_unassigneddeployment_assign", "unassigned", reason="r", confirm=slug),
    ),
    "pause a work pool, by page": Door(
        "admin/flows/workpool/<int:pk>/pause/", press("flows_workpool_pause", "pool", reason="r")
    ),
    "resume a work pool, by page": Door(
        "admin/flows/workpool/<int:pk>/resume/", press("flows_workpool_resume", "paused_pool", reason="r", confirm=slug)
    ),
    "change the limit of a work pool, by page": Door(
        "admin/flows/workpool/<int:pk>/limits/",
        press("flows_workpool_limits", "pool", concurrency_limit="9", reason="r", confirm=slug),
    ),
    "pause a work queue, by page": Door(
        "admin/flows/workpool/<int:pk>/queues/<int:queue>/pause/",
        press_queue("flows_workpool_pause_queue", "queue", reason="r"),
    ),
    "resume a work queue, by page": Door(
        "admin/flows/workpool/<int:pk>/queues/<int:queue>/resume/",
        press_queue("flows_workpool_resume_queue", "paused_queue", reason="r", confirm=slug),
    ),
    "change the limit of a work queue, by page": Door(
        "admin/flows/workpool/<int:pk>/queues/<int:queue>/limits/",
        press_queue(
            "flows_workpool_limit_queue", "queue", concurrency_limit="9", priority="1", reason="r", confirm=slug
        ),
    ),
    "cancel a run, by page": Door("admin/runs/run/<int:pk>/cancel/", press("runs_run_cancel", "run", reason="r")),
    "refresh a run, by page": Door("admin/runs/run/<int:pk>/refresh/", press("runs_run_refresh", "run")),
    "approve a request, by page": Door(
        "admin/runs/runrequest/<int:pk>/approve/",
        press("runs_runrequest_approve", "run_request", reason="r", displayed_digest=seen),
    ),
    "reject a request, by page": Door(
        "admin/runs/runrequest/<int:pk>/reject/", press("runs_runrequest_reject", "run_request", reason="r")
    ),
    "withdraw a request, by page": Door(
        "admin/runs/runrequest/<int:pk>/withdraw/", press("runs_runrequest_withdraw", "run_request", reason="r")
    ),
    "approve a change request, by page": Door(
        "admin/runs/changerequest/<int:pk>/approve/",
        press("runs_changerequest_approve", "change", reason="r", displayed_digest=lambda there: there.change.digest),
    ),
    "reject a change request, by page": Door(
        "admin/runs/changerequest/<int:pk>/reject/", press("runs_changerequest_reject", "change", reason="r")
    ),
    "withdraw a change request, by page": Door(
        "admin/runs/changerequest/<int:pk>/withdraw/", press("runs_changerequest_withdraw", "change", reason="r")
    ),
    "comment on a change request, by page": Door(
        "admin/runs/changerequest/<int:pk>/comment/", press("runs_changerequest_comment", "change", text="t")
    ),
    "verify the audit trail, by page": Door("admin/runs/auditentry/verify/", press("runs_auditentry_verify")),
    "export the audit trail, by page": Door(
        "admin/runs/auditentry/export/", press("runs_auditentry_export", format="csv")
    ),
    "create an environment, by page": Door(
        "admin/flows/environment/add/",
        press("flows_environment_add", **{**ENVIRONMENT, "slug": "new", "api_url": "http://new.test/api"}),
    ),
    "change an environment, by page": Door(
        "admin/flows/environment/<path:object_id>/change/",
        press("flows_environment_change", "environment", **ENVIRONMENT),
    ),
    "delete an environment, by page": Door(
        "admin/flows/environment/<path:object_id>/delete/", press("flows_environment_delete", "unused", post="yes")
    ),
    "test an address, by page": Door("admin/flows/environment/test/", press("flows_environment_test", **CONNECTION)),
    "freeze an environment, by page": Door(
        "admin/flows/environment/<int:pk>/freeze/", press("flows_environment_freeze", "environment", reason="r")
    ),
    "unfreeze an environment, by page": Door(
        "admin/flows/environment/<int:pk>/unfreeze/",
        frozen(press("flows_environment_unfreeze", "environment", reason="r", confirm=slug)),
    ),
    "create a policy, by page": Door("admin/runs/policy/add/", press("runs_policy_add", **POLICY)),
    "change a policy, by page": Door(
        "admin/runs/policy/<path:object_id>/change/", press("runs_policy_change", "policy", **POLICY)
    ),
    "delete a policy, by page": Door(
        "admin/runs/policy/<int:pk>/remove/", press("runs_policy_remove", "policy", reason="r", confirm=slug)
    ),
    "create a window, by page": Door("admin/runs/window/add/", press("runs_window_add", **WINDOW)),
    "change a window, by page": Door(
        "admin/runs/window/<path:object_id>/change/", press("runs_window_change", "window", **WINDOW)
    ),
    "delete a window, by page": Door(
        "admin/runs/window/<int:pk>/remove/", press("runs_window_remove", "window", reason="r", confirm=slug)
    ),
    "choose one's notifications, by page": Door("admin/runs/notification/choose/", press("runs_notification_choose")),
    "choose one's time zone, by page": Door(
        "admin/profile/time-zone/", press_own("profile_time_zone", time_zone="Europe/Vienna")
    ),
    "choose when one's email is sent, by page": Door(
        "admin/profile/email-times/",
        press_own("profile_email_times", digest="daily", digest_hour="8", merge_minutes="5"),
    ),
    "remove one's email address, by page": Door("admin/profile/email/", remove_own_address),
    "choose one's name, by page": Door(
        "admin/profile/name/", press_own("profile_name", first_name="O", last_name="Ops")
    ),
    "sign out one of one's browsers, by page": Door("admin/profile/end-session/", end_own_session),
    "sign out one's other browsers, by page": Door(
        "admin/profile/end-other-sessions/", press_own("profile_end_sessions")
    ),
    **{
        f"download the list of {name}, by page": Door(
            f"admin/{model.replace('_', '/')}/export.csv", press(f"{model}_export")
        )
        for name, model in DOWNLOADED.items()
    },
    "save a view of a list, by page": Door(
        "admin/views/save/", press("view_save", list="runs.run", name="Failed", query="state=FAILED")
    ),
    "delete one's own view of a list, by page": Door("admin/views/<int:pk>/delete/", delete_own_view),
    "create an alias, by page": Door("admin/flows/alias/add/", press("flows_alias_add", **NAME)),
    "change an alias, by page": Door(
        "admin/flows/alias/<path:object_id>/change/", press("flows_alias_change", "alias", **NAME)
    ),
    "delete an alias, by page": Door(
        "admin/flows/alias/<path:object_id>/delete/", press("flows_alias_delete", "alias", post="yes")
    ),
    "give a grant, by page": Door("admin/runs/grant/add/", press("runs_grant_add", **GRANT)),
    "revoke a grant, by page": Door(
        "admin/runs/grant/<int:pk>/revoke/", press("runs_grant_revoke", "grant", reason="r")
    ),
    "create a person, by page": Door("admin/auth/user/add/", press("auth_user_add", **PERSON)),
    "change a person, by page": Door(
        "admin/auth/user/<path:object_id>/change/",
        press("auth_user_change", "person", **{**PERSON, "email": "x@example.org"}),
    ),
    "set a person's password, by page": Door(
        "admin/auth/user/<id>/password/",
        press(
            "auth_user_password_change", "person", password1="Xk7-long-enough", password2="Xk7-long-enough", **CONFIRMED
        ),
    ),
    "create a group, by page": Door("admin/auth/group/add/", press("auth_group_add", name="new")),
    "change a group, by page": Door(
        "admin/auth/group/<path:object_id>/change/", press("auth_group_change", "group", name="renamed")
    ),
    "create a token, by page": Door("admin/runs/token/new/", create_token),
    "replace a token, by page": Door(
        "admin/runs/token/<int:pk>/rotate/", press("runs_token_rotate", "token", overlap="now")
    ),
    "revoke a token, by page": Door(
        "admin/runs/token/<int:pk>/revoke/", press("runs_token_revoke", "token", reason="r")
    ),
    "trust a CI job, by page": Door("admin/runs/jobtrust/new/", trust_job),
    "revoke a trusted job, by page": Door(
        "admin/runs/jobtrust/<int:pk>/revoke/", press("runs_jobtrust_revoke", "job_trust", reason="r")
    ),
    "add an agent, by page": Door("admin/runs/agent/add/", press("runs_agent_add", name="new", **AGENT)),
    "change an agent, by page": Door(
        "admin/runs/agent/<path:object_id>/change/", press("runs_agent_change", "agent", **AGENT)
    ),
    "stop an agent, by page": Door("admin/runs/agent/<int:pk>/stop/", press("runs_agent_stop", "agent", reason="r")),
    "start an agent, by page": Door(
        "admin/runs/agent/<int:pk>/start/", press("runs_agent_start", "stopped", reason="r")
    ),
    "stop all agents, by page": Door("admin/runs/agent/stop-all/", press("runs_agent_stop_all", reason="r")),
    "start all agents, by page": Door(
        "admin/runs/agent/start-all/", all_stopped(press("runs_agent_start_all", reason="r"))
    ),
    "create a service account, by page": Door(
        "admin/runs/serviceaccount/add/", press("runs_serviceaccount_add", name="new", **SERVICE_ACCOUNT)
    ),
    "change a service account, by page": Door(
        "admin/runs/serviceaccount/<path:object_id>/change/",
        press("runs_serviceaccount_change", "robot", **SERVICE_ACCOUNT),
    ),
    "create a hook, by page": Door("admin/runs/hook/new/", press("runs_hook_new", newest_hook="99999999", **HOOK)),
    "change a hook, by page": Door("admin/runs/hook/<int:pk>/edit/", press("runs_hook_edit", "hook", **HOOK)),
    "enable a hook, by page": Door("admin/runs/hook/<int:pk>/enable/", press("runs_hook_enable", "hook")),
    "disable a hook, by page": Door("admin/runs/hook/<int:pk>/disable/", press("runs_hook_disable", "hook")),
    "add a secret of a hook, by page": Door(
        "admin/runs/hook/<int:pk>/add-secret/", press("runs_hook_add_secret", "hook", newest_secret="99999999")
    ),
    "remove a secret of a hook, by page": Door(
        "admin/runs/hook/<int:pk>/remove-secret/", press("runs_hook_remove_secret", "hook", secret=secret)
    ),
    "replace the secrets of a hook, by page": Door(
        "admin/runs/hook/<int:pk>/replace-secrets/",
        press("runs_hook_replace_secrets", "hook", newest_secret="99999999"),
    ),
    "create an event rule, by page": Door(
        "admin/runs/eventrule/new/", press("runs_eventrule_new", newest_rule="99999999", **RULE)
    ),
    "change an event rule, by page": Door(
        "admin/runs/eventrule/<int:pk>/edit/", press("runs_eventrule_edit", "event_rule", **RULE)
    ),
    "pause an event rule, by page": Door(
        "admin/runs/eventrule/<int:pk>/pause/", press("runs_eventrule_pause", "event_rule")
    ),
    "resume an event rule, by page": Door(
        "admin/runs/eventrule/<int:pk>/resume/", press("runs_eventrule_resume", "event_rule")
    ),
    "delete an event rule, by page": Door(
        "admin/runs/eventrule/<int:pk>/remove/", press("runs_eventrule_remove", "event_rule")
    ),
    "create a channel, by page": Door("admin/runs/channel/new/", press("runs_channel_new", **CHANNEL)),
    "change a channel, by page": Door(
        "admin/runs/channel/<int:pk>/edit/", press("runs_channel_edit", "channel", name="renamed")
    ),
    "enable a channel, by page": Door(
        "admin/runs/channel/<int:pk>/enable/", press("runs_channel_enable", "disabled_channel")
    ),
    "disable a channel, by page": Door(
        "admin/runs/channel/<int:pk>/disable/", press("runs_channel_disable", "channel")
    ),
    "test a channel, by page": Door("admin/runs/channel/<int:pk>/test/", press("runs_channel_test", "channel")),
    "replace the secret of a channel, by page": Door(
        "admin/runs/channel/<int:pk>/replace-secret/", press("runs_channel_replace_secret", "channel")
    ),
    "send a message to a channel once more, by page": Door(
        "admin/runs/channel/<int:pk>/deliveries/<int:number>/replay/", press_delivery
    ),
    "send a message to a hook, by address": Door("hooks/<slug:key>", message),
    "request runs of selected deployments, by list action": Door(
        "action flows.Deployment.quick_run_selected",
        act(
            "flows.Deployment",
            "quick_run_selected",
            "deployment",
            **{"confirmation-dev": "dev", "confirmation-prod": "prod"},
        ),
    ),
    "pause selected deployments, by list action": Door(
        "action flows.Deployment.pause_selected", act("flows.Deployment", "pause_selected", "deployment")
    ),
    "resume selected deployments, by list action": Door(
        "action flows.Deployment.resume_selected", act("flows.Deployment", "resume_selected", "paused")
    ),
    "check the connection of selected environments, by list action": Door(
        "action flows.Environment.check_connection", act("flows.Environment", "check_connection", "environment")
    ),
    "refresh selected environments, by list action": Door(
        "action flows.Environment.read_now", act("flows.Environment", "read_now", "environment")
    ),
    "approve selected requests, by list action": Door("action runs.RunRequest.approve_selected", sign_selected),
    "reject selected requests, by list action": Door(
        "action runs.RunRequest.reject_selected", act("runs.RunRequest", "reject_selected", "run_request")
    ),
    "withdraw selected requests, by list action": Door(
        "action runs.RunRequest.withdraw_selected", act("runs.RunRequest", "withdraw_selected", "run_request")
    ),
    "cancel selected runs, by list action": Door(
        "action runs.Run.cancel_selected", act("runs.Run", "cancel_selected", "run")
    ),
    "set the owner of a failure, by page": Door(
        "admin/runs/failuregroup/<int:pk>/own/", press("runs_failuregroup_own", "failure", owner="requester")
    ),
    "mark a failure as known, by page": Door(
        "admin/runs/failuregroup/<int:pk>/acknowledge/", press("runs_failuregroup_acknowledge", "failure")
    ),
    "mute a failure, by page": Door(
        "admin/runs/failuregroup/<int:pk>/mute/", press("runs_failuregroup_mute", "failure", until=tomorrow, reason="r")
    ),
    "resolve a failure, by page": Door(
        "admin/runs/failuregroup/<int:pk>/resolve/", press("runs_failuregroup_resolve", "failure", reason="r")
    ),
    "add a note to a failure, by page": Door(
        "admin/runs/failuregroup/<int:pk>/note/", press("runs_failuregroup_note", "failure", reason="r")
    ),
    "create a service level, by page": Door(
        "admin/runs/servicelevel/new/", press("runs_servicelevel_new", newest="99999999", **LEVEL)
    ),
    "remove a service level, by page": Door(
        "admin/runs/servicelevel/<int:pk>/remove/", press("runs_servicelevel_remove", "level", reason="r")
    ),
    "create a notification rule, by page": Door(
        "admin/runs/notificationrule/new/",
        press("runs_notificationrule_new", newest="99999999", name="a rule", topics="failed"),
    ),
    "remove a notification rule, by page": Door(
        "admin/runs/notificationrule/<int:pk>/remove/",
        press("runs_notificationrule_remove", "notification_rule", reason="r"),
    ),
    "change a concurrency limit, by page": Door(
        "admin/flows/globallimit/<int:pk>/limits/",
        press("flows_globallimit_limits", "global_limit", concurrency_limit="9", reason="r", confirm=slug),
    ),
    "create a concurrency limit, by page": Door(
        "admin/flows/globallimit/new/",
        press(
            "flows_globallimit_new",
            environment=lambda site: site.environment.pk,
            name="new",
            concurrency_limit="1",
            reason="r",
        ),
    ),
    "delete a concurrency limit, by page": Door(
        "admin/flows/globallimit/<int:pk>/remove/",
        press("flows_globallimit_remove", "global_limit", reason="r", confirm=slug),
    ),
    "create a resource profile, by page": Door(
        "admin/runs/resourceprofile/new/", press("runs_resourceprofile_new", **PROFILE)
    ),
    "remove a resource profile, by page": Door(
        "admin/runs/resourceprofile/<int:pk>/remove/", press("runs_resourceprofile_remove", "profile", reason="r")
    ),
    "disconnect a person from single sign-on, by page": Door(
        "admin/auth/user/<int:pk>/disconnect-sign-on/", press("auth_user_disconnect_sign_on", "person")
    ),
    "preview the portal as a person, by page": Door(
        "admin/auth/user/<int:pk>/try/", press("auth_user_try", "person", reason="r", words="")
    ),
    "force a run to be cancelled, by page": Door(
        "admin/runs/run/<int:pk>/force-cancel/", press("runs_run_force_cancel", "stuck", reason="r")
    ),
    "put a stalled run back, by page": Door(
        "admin/runs/run/<int:pk>/put-back/", press("runs_run_put_back", "stalled", reason="r")
    ),
    "mark a stalled run as failed, by page": Door(
        "admin/runs/run/<int:pk>/mark-failed/", press("runs_run_mark_failed", "stalled", reason="r")
    ),
    "put selected runs back, by list action": Door(
        "action runs.Run.put_back_selected", act("runs.Run", "put_back_selected", "stalled")
    ),
    "mark selected runs as failed, by list action": Door(
        "action runs.Run.mark_failed_selected", act("runs.Run", "mark_failed_selected", "stalled")
    ),
    "retry a failed run, by page": Door(
        "admin/runs/run/<int:pk>/retry/", unapproved(press("runs_run_retry", "failed", reason="r"))
    ),
    "retry selected runs, by list action": Door(
        "action runs.Run.retry_selected", unapproved(act("runs.Run", "retry_selected", "failed"))
    ),
    "re-run selected runs, by list action": Door(
        "action runs.Run.rerun_selected", act("runs.Run", "rerun_selected", "failed", **{"confirmation-prod": "prod"})
    ),
    "compare selected runs, by list action": Door(
        "action runs.Run.compare_selected", act("runs.Run", "compare_selected", "run")
    ),
    "comment on a request, by page": Door(
        "admin/runs/runrequest/<int:pk>/comment/", press("runs_runrequest_comment", "run_request", reason="r", text="r")
    ),
    "override a change window, by page": Door(
        "admin/runs/runrequest/<int:pk>/override/", press("runs_runrequest_override", "run_request", reason="r")
    ),
    "bypass the approval of a request, by page": Door(
        "admin/runs/runrequest/<int:pk>/break-glass/",
        press("runs_runrequest_break_glass", "run_request", reason="r", minutes="5", confirmation=full_name),
    ),
    "review a bypassed approval, by page": Door(
        "admin/runs/runrequest/<int:pk>/review/", press("runs_runrequest_review", "broken", reason="r", was_right="yes")
    ),
    "cancel a run, by command": Door("command cancel", order("cancel", run_id, reason="r")),
    "freeze an environment, by command": Door("command freeze", order("freeze", slug, reason="r")),
    "unfreeze an environment, by command": Door(
        "command unfreeze", frozen(order("unfreeze", slug, reason="r", confirm=slug))
    ),
}


def actions() -> Iterator[str]:
    for model, model_admin in admin.site._registry.items():
        for action in model_admin.actions or ():
            yield f"action {model._meta.label}.{action if isinstance(action, str) else action.__name__}"


def commands() -> Iterator[str]:
    yield from (f"command {name}" for name, app in get_commands().items() if app in ("flows", "runs", "portal"))
