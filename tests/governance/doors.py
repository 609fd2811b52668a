"""Every door through which somebody may act, and what becomes of a knock there for each role."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.core.management import get_commands

from runs import desk
from tests.governance.knocking import (
    ENVIRONMENT,
    GRANT,
    NAME,
    PASSWORD,
    PERSON,
    POLICY,
    WINDOW,
    Door,
    act,
    ask,
    broken,
    call,
    frozen,
    full_name,
    given,
    order,
    press,
    run_id,
    seen,
    sign_in,
    sign_selected,
    slug,
    somebody,
    wish,
)

# Addresses that only show, whatever is sent to them; `{model}` stands for each that the admin knows.
LOOKS = {
    *("", "health/live", "health/ready", "admin/", "admin/nowhere/", "admin/flows/", "admin/runs/", "admin/auth/"),
    *("admin/jsi18n/", "admin/autocomplete/", "admin/search/", "admin/live/", "admin/monitoring/"),
    *("admin/password_change/done/", "admin/r/<path:content_type_id>/<path:object_id>/"),
    *("{model}", "{model}<path:object_id>/", "{model}<path:object_id>/history/"),
    *("admin/runs/run/<int:pk>/log/", "admin/runs/run/<int:pk>/log.txt", "admin/runs/artifact/<int:pk>/frame/"),
    *("admin/flows/grant/mine/", "admin/flows/grant/why/", "admin/runs/runrequest/<int:pk>/status.json"),
    *("admin/flows/environment/<int:pk>/calendar/", "admin/runs/auditentry/exports/"),
    "admin/runs/auditentry/<path:object_id>/change/",
    "admin/runs/auditentry/exports/<int:pk>/download/",
}
# Django would make these; nobody may use them.
SHUT = {
    *(f"admin/{model}/add/" for model in ("flows/deployment", "runs/run", "runs/runrequest", "runs/auditentry")),
    *(f"admin/{model}/<path:object_id>/delete/" for model in ("flows/deployment", "flows/grant", "auth/user")),
    *(f"admin/runs/{model}/<path:object_id>/delete/" for model in ("run", "runrequest", "auditentry", "artifact")),
    *("admin/auth/group/<path:object_id>/delete/", "admin/runs/artifact/add/", "admin/runs/notice/add/"),
    *(f"admin/runs/{model}/<path:object_id>/delete/" for model in ("policy", "window", "notice")),
    "admin/runs/notice/<path:object_id>/change/",
    *(f"admin/{model}/<path:object_id>/change/" for model in ("flows/deployment", "flows/grant", "runs/run")),
    *(f"admin/runs/{model}/<path:object_id>/change/" for model in ("runrequest", "artifact")),
}
# Commands that act on no request of anybody: they look, or whoever runs them has the machine and the database anyway.
NOT_DOORS = {
    *("flows", "runs", "health", "verify_audit", "follow", "clock", "new_database", "sync"),
    *("secure_audit", "retire_audit", "reseal", "demo", "demo_cast", "demo_story", "inbox", "who", "why", "windows"),
}
# Functions of the Python API that only look, or do what the portal does by itself every half minute.
API_LOOKS = {
    *("calendar", "chosen", "deployment", "deployments", "environment", "environments", "health", "inbox", "run"),
    *("runs", "status", "sync", "who", "why"),
}

# door -> how to knock and, for each of ROLES, what becomes of it in dev and in prod
DOORS: dict[str, Door] = {
    "admin/login/": Door("session.sign_in", sign_in, "DDDDDDDD"),
    "admin/logout/": Door("session.sign_out", press("logout"), "DDDDDDDD"),
    "admin/password_change/": Door(
        "person.own_password",
        press(
            "password_change", old_password=PASSWORD, new_password1="Xk7-long-enough", new_password2="Xk7-long-enough"
        ),
        "DDDDDDDD",
    ),
    "admin/flows/deployment/<int:pk>/run/": Door("request.submit", ask("flows_deployment_run"), "RDDRDRRN", "NDDRDNRN"),
    "admin/flows/deployment/<int:pk>/quick-run/": Door(
        "request.submit", ask("flows_deployment_quick_run"), "RDDRDRRN", "NDDRDNRN"
    ),
    "admin/flows/deployment/<int:pk>/pause/": Door(
        "deployment.pause", press("flows_deployment_pause", "deployment", reason="r"), "RRRRDRDN", "NRRRDNDN"
    ),
    "admin/flows/deployment/<int:pk>/resume/": Door(
        "deployment.resume", press("flows_deployment_resume", "paused", reason="r"), "RRRRDRDN", "NRRRDNDN"
    ),
    "admin/runs/run/<int:pk>/cancel/": Door(
        "run.cancel", press("runs_run_cancel", "run", reason="r"), "RDDRDRRN", "NDDRDNRN"
    ),
    "admin/runs/run/<int:pk>/refresh/": Door("", press("runs_run_refresh", "run"), "-------N", "N----N-N"),
    "admin/runs/runrequest/<int:pk>/approve/": Door(
        "request.approve",
        press("runs_runrequest_approve", "wish", reason="r", seen_digest=seen),
        "RRRDDRRN",
        "NRRDDNRN",
    ),
    "admin/runs/runrequest/<int:pk>/reject/": Door(
        "request.reject", press("runs_runrequest_reject", "wish", reason="r"), "RRRDDRRN", "NRRDDNRN"
    ),
    "admin/runs/runrequest/<int:pk>/withdraw/": Door(
        "request.withdraw", press("runs_runrequest_withdraw", "wish", reason="r"), "RDDRDRRN", "NDDRDNRN"
    ),
    "admin/runs/auditentry/verify/": Door("audit.verify", press("runs_auditentry_verify"), "FFFFFDDF"),
    "admin/runs/auditentry/export/": Door("audit.export", press("runs_auditentry_export", format="csv"), "FFFFFDDF"),
    "admin/flows/environment/add/": Door(
        "environment.create",
        press("flows_environment_add", **{**ENVIRONMENT, "slug": "new", "api_url": "http://new.test/api"}),
        "FFFFFFDF",
    ),
    "admin/flows/environment/<path:object_id>/change/": Door(
        "environment.change", press("flows_environment_change", "environment", **ENVIRONMENT), "FFFFFFDN", "NFFFFNDN"
    ),
    "admin/flows/environment/<path:object_id>/delete/": Door(
        "environment.delete", press("flows_environment_delete", "unused", post="yes"), "FFFFFFDN", "NNNNNNDN"
    ),
    "admin/flows/environment/<int:pk>/freeze/": Door(
        "environment.freeze", press("flows_environment_freeze", "environment", reason="r"), "RRRRDRDN", "NRRRDNDN"
    ),
    "admin/flows/environment/<int:pk>/unfreeze/": Door(
        "environment.unfreeze",
        frozen(press("flows_environment_unfreeze", "environment", reason="r")),
        "RRRRDRDN",
        "NRRRDNDN",
    ),
    "admin/runs/policy/add/": Door("policy.create", press("runs_policy_add", **POLICY), "FFFFFFDF"),
    "admin/runs/policy/<path:object_id>/change/": Door(
        "policy.change", press("runs_policy_change", "policy", **POLICY), "FFFFFFDF", "NFFFFFDF"
    ),
    "admin/runs/policy/<int:pk>/remove/": Door(
        "policy.delete", press("runs_policy_remove", "policy"), "FFFFFFDF", "FFFFFFDF"
    ),
    "admin/runs/window/add/": Door("window.create", press("runs_window_add", **WINDOW), "FFFFFFDF"),
    "admin/runs/window/<path:object_id>/change/": Door(
        "window.change", press("runs_window_change", "window", **WINDOW), "FFFFFFDF", "NFFFFFDF"
    ),
    "admin/runs/window/<int:pk>/remove/": Door(
        "window.delete", press("runs_window_remove", "window"), "FFFFFFDF", "FFFFFFDF"
    ),
    "admin/runs/notice/choose/": Door("person.subscribe", press("runs_notice_choose"), "DDDDDDDD"),
    "admin/flows/alias/add/": Door("alias.create", press("flows_alias_add", **NAME), "FFFFFFDF", "FFFFFFDF"),
    "admin/flows/alias/<path:object_id>/change/": Door(
        "alias.change", press("flows_alias_change", "alias", **NAME), "FFFFFFDN", "NFFFFNDN"
    ),
    "admin/flows/alias/<path:object_id>/delete/": Door(
        "alias.delete", press("flows_alias_delete", "alias", post="yes"), "FFFFFFDF", "FFFFFFDF"
    ),
    "admin/flows/grant/add/": Door("grant.give", press("flows_grant_add", **GRANT), "FFFFDFDF", "FFFFDFDF"),
    "admin/flows/grant/<int:pk>/revoke/": Door(
        "grant.revoke", press("flows_grant_revoke", "grant", reason="r"), "FFFFFFDF", "FFFFFFDF"
    ),
    "admin/auth/user/add/": Door("person.create", press("auth_user_add", **PERSON), "FFFFFFDF"),
    "admin/auth/user/<path:object_id>/change/": Door(
        "person.change",
        press("auth_user_change", "person", **{**PERSON, "email": "x@example.org"}),
        "FFFFFFDF",
    ),
    "admin/auth/user/<id>/password/": Door(
        "person.password",
        press("auth_user_password_change", "person", password1="Xk7-long-enough", password2="Xk7-long-enough"),
        "FFFFFFDF",
    ),
    "admin/auth/group/add/": Door("group.create", press("auth_group_add", name="new"), "FFFFFFDF"),
    "admin/auth/group/<path:object_id>/change/": Door(
        "group.change", press("auth_group_change", "group", name="renamed"), "FFFFFFDF"
    ),
    "action flows.Deployment.quick_run_selected": Door(
        "request.submit",
        act(
            "flows.Deployment",
            "quick_run_selected",
            "deployment",
            **{"confirmation-dev": "dev", "confirmation-prod": "prod"},
        ),
        "-DD-D--F",
        "-DD-D--F",
    ),
    "action flows.Deployment.pause_selected": Door(
        "deployment.pause", act("flows.Deployment", "pause_selected", "deployment"), "----D-DF", "----D-DF"
    ),
    "action flows.Deployment.resume_selected": Door(
        "deployment.resume", act("flows.Deployment", "resume_selected", "paused"), "----D-DF", "----D-DF"
    ),
    "action flows.Environment.check_connection": Door(
        "", act("flows.Environment", "check_connection", "environment"), "-------F", "-------F"
    ),
    "action flows.Environment.read_now": Door(
        "", act("flows.Environment", "read_now", "environment"), "-------F", "-------F"
    ),
    "action runs.RunRequest.approve_selected": Door("request.approve", sign_selected, "---DD--F", "---DD--F"),
    "action runs.RunRequest.reject_selected": Door(
        "request.reject", act("runs.RunRequest", "reject_selected", "wish"), "---DD--F", "---DD--F"
    ),
    "action runs.RunRequest.withdraw_selected": Door(
        "request.withdraw", act("runs.RunRequest", "withdraw_selected", "wish"), "-DD-D--F", "-DD-D--F"
    ),
    "action runs.Run.cancel_selected": Door(
        "run.cancel", act("runs.Run", "cancel_selected", "run"), "-DD-D--F", "-DD-D--F"
    ),
    "admin/auth/user/<int:pk>/try/": Door(
        "person.try", press("auth_user_try", "person", reason="r", words=""), "FFFFFFDF"
    ),
    "admin/runs/run/<int:pk>/force-cancel/": Door(
        "run.force_cancel", press("runs_run_force_cancel", "stuck", reason="r"), "RRRRDRRN", "NRRRDNRN"
    ),
    "admin/runs/runrequest/<int:pk>/comment/": Door(
        "request.comment", press("runs_runrequest_comment", "wish", reason="r", text="r"), "DDDDDDDN", "NDDDDNDN"
    ),
    "admin/runs/runrequest/<int:pk>/override/": Door(
        "request.override", press("runs_runrequest_override", "wish", reason="r"), "RRRRDRRN", "NRRRDNRN"
    ),
    "admin/runs/runrequest/<int:pk>/break-glass/": Door(
        "request.break_glass",
        press("runs_runrequest_break_glass", "wish", reason="r", minutes="5", confirmation=full_name),
        "RRRRDRRN",
        "NRRRDNRN",
    ),
    "admin/runs/runrequest/<int:pk>/review/": Door(
        "request.review", press("runs_runrequest_review", "broken", reason="r", was_right="yes"), "RRRDRRRN", "NRRDRNRN"
    ),
    "command trigger": Door(
        "request.submit", order("trigger", slug, full_name, pairs=["month=2026-10"], reason="r"), "RDDRDRR-", "-DDRD-R-"
    ),
    "command cancel": Door("run.cancel", order("cancel", run_id, reason="r"), "RDDRDRR-", "-DDRD-R-"),
    "command approve": Door("request.approve", order("approve", wish), "RRRDDRR-", "-RRDD-R-"),
    "command reject": Door("request.reject", order("reject", wish, reason="r"), "RRRDDRR-", "-RRDD-R-"),
    "command comment": Door("request.comment", order("comment", wish, "r"), "DDDDDDD-", "-DDDD-D-"),
    "command withdraw": Door("request.withdraw", order("withdraw", wish), "RDDRDRR-", "-DDRD-R-"),
    "command rerun": Door("request.submit", order("rerun", wish, reason="r"), "RDDRDRR-", "-DDRD-R-"),
    "command override": Door("request.override", order("override", wish, reason="r"), "RRRRDRR-", "-RRRD-R-"),
    "command break_glass": Door("request.break_glass", order("break_glass", wish, reason="r"), "RRRRDRR-", "-RRRD-R-"),
    "command review": Door("request.review", order("review", broken, "--right", text="r"), "RRRDRRR-", "-RRDR-R-"),
    "command freeze": Door("environment.freeze", order("freeze", slug, reason="r"), "RRRRDRD-", "-RRRD-D-"),
    "command unfreeze": Door("environment.unfreeze", frozen(order("unfreeze", slug)), "RRRRDRD-", "-RRRD-D-"),
    "command grant": Door(
        "grant.give", order("grant", somebody, "cancel", "--env", slug, reason="r"), "RRRRDRD-", "-RRRD-D-"
    ),
    "command revoke": Door("grant.revoke", order("revoke", given, reason="r"), "RRRRRRDR", "RRRRRRDR"),
    "desk.trigger": Door(
        "request.submit", call(desk.trigger, slug, full_name, {"month": "2026-10"}, reason="r"), "RDDRDRR-", "-DDRD-R-"
    ),
    "desk.cancel": Door("run.cancel", call(desk.cancel, run_id, reason="r"), "RDDRDRR-", "-DDRD-R-"),
    "desk.approve": Door("request.approve", call(desk.approve, wish), "RRRDDRR-", "-RRDD-R-"),
    "desk.reject": Door("request.reject", call(desk.reject, wish, reason="r"), "RRRDDRR-", "-RRDD-R-"),
    "desk.comment": Door("request.comment", call(desk.comment, wish, "r"), "DDDDDDD-", "-DDDD-D-"),
    "desk.withdraw": Door("request.withdraw", call(desk.withdraw, wish), "RDDRDRR-", "-DDRD-R-"),
    "desk.rerun": Door("request.submit", call(desk.rerun, wish, reason="r"), "RDDRDRR-", "-DDRD-R-"),
    "desk.override": Door("request.override", call(desk.override, wish, reason="r"), "RRRRDRR-", "-RRRD-R-"),
    "desk.break_glass": Door("request.break_glass", call(desk.break_glass, wish, reason="r"), "RRRRDRR-", "-RRRD-R-"),
    "desk.review": Door("request.review", call(desk.review, broken, was_right=True, text="r"), "RRRDRRR-", "-RRDR-R-"),
    "desk.freeze": Door("environment.freeze", call(desk.freeze, slug, reason="r"), "RRRRDRD-", "-RRRD-D-"),
    "desk.unfreeze": Door("environment.unfreeze", frozen(call(desk.unfreeze, slug)), "RRRRDRD-", "-RRRD-D-"),
    "desk.grant": Door(
        "grant.give",
        call(desk.grant, somebody, ["cancel"], environment_name=slug, reason="r"),
        "RRRRDRD-",
        "-RRRD-D-",
    ),
    "desk.revoke": Door("grant.revoke", call(desk.revoke, given, reason="r"), "RRRRRRDR", "RRRRRRDR"),
}


def public(module: Any) -> Iterator[str]:
    """The functions of the Python API that take an actor."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        ours = function.__module__.startswith(module.__name__)
        if ours and not name.startswith("_") and "by" in inspect.signature(function).parameters:
            yield f"desk.{name}"


def actions() -> Iterator[str]:
    for model, model_admin in admin.site._registry.items():
        for action in model_admin.actions or ():
            yield f"action {model._meta.label}.{action if isinstance(action, str) else action.__name__}"


def commands() -> Iterator[str]:
    yield from (f"command {name}" for name, app in get_commands().items() if app in ("flows", "runs", "portal"))
