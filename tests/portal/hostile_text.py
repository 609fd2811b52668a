"""A Prefect whose every text tries to be more than text, and everything the portal makes of it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote as urlquote

from django.contrib.admin.utils import quote
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import Group, User
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from flows.catalog import automations, health, sync
from flows.models import Alias, Deployment, Environment, Health, WorkPool
from flows.prefect_api.records import ScheduleRecord
from portal.auth.browser_sessions import ORIGIN, SessionStore
from runs import changes, mirror, tasks
from runs import requests as runs_requests
from runs.actors import Actor
from runs.automation import event_rules, hook_deliveries, hooks, schedules
from runs.changes import agent_stop
from runs.errors import Refused
from runs.governance import agents, bypasses, freezes, grants, job_trusts, pausing
from runs.governance.job_trusts import JobToken
from runs.models import (
    AuditEntry,
    Bypass,
    Channel,
    Delivery,
    EventRule,
    Hook,
    Notification,
    Policy,
    RuleFiring,
    Run,
    RunRequest,
    ServiceAccount,
    TokenScope,
    Verb,
    Window,
)
from runs.notifications import channels
from tests.cast import by, person
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.portal.hostile_rows import rows_of
from tests.portal.made_tokens import new_token, robot_of
from tests.portal.trusted_jobs import trust

# What a page shows of the texts, at least on one of all pages.
SHOWN = (
    *("deployment", "flow", "tag", "description", "version", "entrypoint", "schedule", "pool", "queue", "type"),
    *("worker", "variable", "setting", "title", "help", "default", "choice", "value", "run", "runtag", "process"),
    *("state", "message", "task", "taskstate", "taskmessage", "log", "user", "group", "reason", "runname", "asktag"),
    *("answer", "cancel", "switch", "queuetext", "pooltext", "grant", "condition", "grantticket", "health", "sync"),
    *("environment", "automation"),
    *("policy", "pattern", "window", "windowreason", "freeze", "freezeticket", "notice", "noticetext", "notsent"),
    *("robot", "purpose", "tokenname", "tokenflow", "tokenvalue"),
    *("rulename", "rulekey", "rulepointer", "rulevalue", "ruledefault", "rulesource", "rulemessage", "rulepause"),
    *("channel", "channelmessage", "channelanswer", "channelwhy"),
    *("hookname", "hookpointer", "hookdefault", "hookvalue", "hookaddress"),
    "schedulename",
    *("jobname", "jobclaim", "jobactor", "agentpurpose", "agentwhy", "browser"),
    *("chainname", "chaintext", "chainvalue", "backfill", "presetname", "presetvalue", "failure", "artifacttext"),
)


def bad(place: str) -> str:
    """No slash: it separates the names of flow and deployment."""
    return f"<bad-{place} x=1 onclick=alert(1)>\"'&{{{{7*7}}}}{{% now %}}"


SCHEMA: dict[str, Any] = {
    "title": "Parameters",
    "type": "object",
    "properties": {
        "text": {"title": bad("title"), "description": bad("help"), "type": "string", "default": bad("default")},
        "pick": {"enum": [bad("choice"), "other"], "type": "string", "default": "other"},
        bad("parameter"): {"type": "string", "default": ""},
    },
}


@dataclass(frozen=True)
class World:
    """The keys of its rows, by app and model as addresses name them."""

    deployment: Deployment
    rows: Mapping[str, Sequence[object]]


def world(environment: Environment, fake: FakePrefect, reader: User, *, flow: str = bad("flow")) -> World:
    """Make it; `reader` may do everything in it. `flow` is the name of the flow of its deployment."""
    Environment.objects.filter(pk=environment.pk).update(needs_approval=True, description=bad("environment"))
    queues = (records.work_queue(bad("queue"), description=bad("queuetext")),)
    workers = (records.worker(bad("worker")),)
    fake.add_work_pool(bad("pool"), type=bad("type"), description=bad("pooltext"), queues=queues, workers=workers)
    record = fake.add_deployment(
        name=bad("deployment"),
        flow_name=flow,
        description=bad("description"),
        tags=(bad("tag"),),
        parameter_schema=SCHEMA,
        version=bad("version"),
        entrypoint=bad("entrypoint"),
        work_pool_name=bad("pool"),
        work_queue_name=bad("queue"),
        job_variables={bad("variable"): bad("setting")},
        schedules=(ScheduleRecord(id=uuid.uuid4(), description=bad("schedule"), is_active=True),),
    )
    fake.add_automation(bad("automation"), ("run-deployment", record.id), ("run-deployment", None))
    sync.sync(environment)
    automations.sync(environment)
    # As if it were protected, which would hide everything else from a grant for all environments.
    Environment.objects.filter(pk=environment.pk).update(loosened={"is_protected": {}})
    bypasses.report(Environment.objects.get(pk=environment.pk))
    Environment.objects.filter(pk=environment.pk).update(loosened={})
    deployment = Deployment.objects.select_related("environment").get(prefect_id=record.id)
    group, requester = Group.objects.create(name=bad("group")), person(bad("user"), "Operator")
    for verb in Verb:
        grants.grant(by=Actor.system(), person=reader, verbs=[verb], reason=bad("grant"))
    grant = grants.grant(
        by=Actor.system(),
        group=group,
        verbs=["see"],
        flow_name=flow,
        full_name=deployment.full_name,
        tag=bad("tag"),
        reason=bad("grant"),
    )
    bound = grants.grant(
        by=Actor.system(),
        group=group,
        verbs=["trigger"],
        predicate={"properties": {"text": {"const": bad("condition")}}},
        ticket=bad("grantticket")[:100],
    )
    requester.groups.add(group)
    alias = Alias.objects.create(environment=environment, name="nightly", full_name=deployment.full_name)
    runs = [run_of(deployment, fake, state) for state in ("RUNNING", "FAILED")]
    requests = [request_of(deployment, requester) for _ in range(2)]
    changes.approve(requests[1].change, by=by(reader), reason=bad("answer"))
    tasks.launch(requests[1].pk)
    tasks.follow_up(requests[1].environment_id)
    # As the follower does, so that no page asks for them.
    mirror.fetch_details(environment, [RunRequest.objects.get(pk=requests[1].pk).flow_run_id])
    runs_requests.cancel(runs[0], by=by(reader), reason=bad("cancel"))
    pausing.pause(deployment, by=by(reader), reason=bad("switch"))
    policy = Policy.objects.create(name=bad("policy"), ticket_pattern=bad("pattern"), tag=bad("tag"))
    window = Window.objects.create(
        name=bad("window"), reason=bad("windowreason"), full_name=deployment.full_name, cron="* * * * *", minutes=1
    )
    robot = robot_of(reader, purpose=bad("purpose"))
    User.objects.filter(pk=robot.user_id).update(username=bad("robot"))
    condition = {"properties": {"text": {"const": bad("tokenvalue")}}}
    scope = TokenScope(verbs=["trigger"], flow_name=bad("tokenflow"), predicate=condition)
    token = new_token(robot.user, scope, owner=reader, name=bad("tokenname")).token
    hook = hook_of(robot, deployment, reader)
    schedule = schedules.request(
        deployment,
        {},
        by=by(reader),
        name=bad("schedulename")[:100],
        rule_type="cron",
        rule="0 6 * * *",
        time_zone="UTC",
        valid_until=timezone.now() + timedelta(days=9),
        reason=bad("reason"),
    )
    rule = rule_of(deployment, reader)
    issuer = "https://gitlab.com"
    claims = {"project_id": "1", "ref": bad("jobclaim")}
    trusted = trust(robot, issuer, owner=reader, name=bad("jobname"), claims=claims)
    facts = {"project_id": "1", "ref": bad("jobclaim"), "user_login": bad("jobactor")}
    job_trusts.exchange(JobToken(issuer, trusted.audience, facts, "digest"), address="192.0.2.7")
    agent = agents.create("helper", purpose=bad("agentpurpose"), requests_per_day=1, requests_at_once=1, by=by(reader))
    agent_stop.stop(agent, by=by(reader), why=bad("agentwhy"))
    others = rows_of(deployment, fake, reader, bad)
    freezes.freeze(environment, by=by(reader), reason=bad("freeze"), ticket=bad("freezeticket"))
    texts = {"subject": bad("notice"), "text": bad("noticetext")}
    notice = Notification.objects.create(
        person=reader, topic="freeze", target_kind="environment", target_id=str(environment.pk), **texts
    )
    Delivery.objects.create(notification=notice, state="failed", message=bad("notsent"))
    room = channels.create(by=by(reader), name=bad("channel")[:100], kind="slack", address="https://example.com/x")
    for part in ({"answer": bad("channelanswer")}, {"message": bad("channelmessage")}):
        sent = Notification.objects.create(topic="freeze", subject=bad("notice"), text=bad("noticetext"))
        Delivery.objects.create(notification=sent, channel=room.channel, state="failed", status=500, **part)
    Channel.objects.update(is_enabled=False, disabled_why=bad("channelwhy"))
    session_of(reader)
    Health.objects.filter(pk=health.health_of(environment.server).pk).update(
        message=bad("health"), sync_message=bad("sync")
    )
    return World(
        deployment,
        {
            "flows/alias": [alias.pk],
            "flows/deployment": [deployment.pk],
            "flows/environment": [environment.pk],
            "flows/flow": [urlquote(quote(deployment.flow_name), safe="")],
            "flows/workpool": list(WorkPool.objects.values_list("pk", flat=True)),
            "runs/grant": [grant.pk, bound.pk],
            "runs/bypass": list(Bypass.objects.values_list("pk", flat=True)),
            "runs/policy": [policy.pk],
            "runs/window": [window.pk],
            "runs/token": [token.pk],
            "runs/jobtrust": [trusted.pk],
            "runs/serviceaccount": [robot.pk],
            "runs/hook": [hook.pk],
            "runs/channel": [room.channel.pk],
            "runs/schedule": [schedule.pk],
            "runs/eventrule": [rule.pk],
            "runs/agent": [agent.pk],
            "runs/run": list(Run.objects.values_list("pk", flat=True)),
            "runs/runrequest": [each.pk for each in requests],
            "runs/auditentry": list(AuditEntry.objects.values_list("pk", flat=True)),
            "auth/user": [requester.pk],
            "auth/group": [group.pk],
            "runs/rulefiring": list(RuleFiring.objects.values_list("pk", flat=True)),
            **others,
        },
    )


def hook_of(robot: ServiceAccount, deployment: Deployment, owner: User) -> Hook:
    """A hook with a message that was refused."""
    # For this one alone: pages of others say who can run them.
    name = deployment.full_name
    grants.grant(by=Actor.system(), person=robot.user, verbs=["trigger"], full_name=name, reason=bad("grant"))
    mapping = {"text": {"pointer": f"/{bad('hookpointer')}", "default": bad("hookdefault")}}
    made = hooks.create(
        robot,
        by=by(owner),
        name=bad("hookname")[:100],
        kind="standard",
        deployment=deployment,
        mapping=mapping,
        predicate={"properties": {"type": {"const": bad("hookvalue")}}},
    )
    at, body, name = datetime.now(UTC), "{}", "<msg>"
    headers = {"webhook-id": name, "webhook-timestamp": str(int(at.timestamp()))}
    headers["webhook-signature"] = Webhook(made.text).sign(name, at, body)
    for signature in (headers["webhook-signature"], "v1,AAAA"):
        sent = {**headers, "webhook-signature": signature}
        incoming = hook_deliveries.Incoming(made.hook.key, sent, body.encode(), address=bad("hookaddress")[:64])
        with contextlib.suppress(Refused):
            hook_deliveries.deliver(hook_deliveries.authenticate(incoming))
    return made.hook


def rule_of(deployment: Deployment, owner: User) -> EventRule:
    """A paused event rule with an event that was skipped."""
    rule = event_rules.create(
        bad("rulename")[:100],
        by=by(owner),
        trigger="artifact",
        artifact_key=bad("rulekey"),
        deployment=deployment,
        conditions=[{"pointer": f"/{bad('rulepointer')}", "is": "eq", "value": bad("rulevalue")}],
        mapping={"text": {"pointer": "/x", "default": bad("ruledefault")}},
    )
    texts = {"source": bad("rulesource"), "message": bad("rulemessage"), "code": "event_rule.unmet"}
    RuleFiring.objects.create(rule=rule, event_id=1, occurred_at=datetime.now(UTC), outcome="skipped", **texts)
    event_rules.pause(rule, by=by(owner), reason=bad("rulepause"))
    return rule


def session_of(reader: User) -> None:
    """A session of the reader in a browser that says what it likes to be called."""
    store = SessionStore()
    store[SESSION_KEY] = str(reader.pk)
    store[ORIGIN] = {"at": datetime.now(UTC).isoformat(), "browser": bad("browser"), "address": bad("browser")[:64]}
    store.create()


def run_of(deployment: Deployment, fake: FakePrefect, state: str) -> Run:
    record = fake.add_run(
        deployment.prefect_id,
        state_type="RUNNING",
        name=bad("run"),
        parameters={"text": bad("value"), bad("parameter"): bad("value")},
        tags=(bad("runtag"),),
        infrastructure_pid=bad("process"),
    )
    fake.set_state(record.id, state, name=bad("state"), message=bad("message"))
    task = {"name": bad("task"), "state_type": "FAILED", "state_name": bad("taskstate"), "message": bad("taskmessage")}
    fake.add_task_run(record.id, **task)
    fake.add_log(record.id, bad("log"), level=40)
    mirror.refresh(deployment.environment, [record.id])
    return Run.objects.select_related("environment", "deployment").get(prefect_id=record.id)


def request_of(deployment: Deployment, requester: User) -> RunRequest:
    return runs_requests.submit(
        deployment,
        {"text": bad("value"), "pick": bad("choice")},
        by=by(requester),
        tags=[bad("asktag")],
        run_name=bad("runname"),
        reason=bad("reason"),
    )
