"""Act through an entry point of the portal: a button, a form, a list action or a command."""

from __future__ import annotations

import contextlib
import io
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from flows.models import (
    Alias,
    Deployment,
    Environment,
    GlobalLimit,
    UnassignedDeployment,
    WorkPool,
    WorkQueue,
)
from portal.auth import browser_sessions
from portal.auth.password_reset import path_of_link
from portal.models import SavedView
from runs.models import (
    Agent,
    AgentStop,
    Chain,
    ChangeRequest,
    Channel,
    Delivery,
    EventRule,
    FailureGroup,
    Freeze,
    Grant,
    Hook,
    JobTrust,
    NotificationRule,
    Pin,
    Policy,
    Preset,
    ResourceProfile,
    Run,
    RunRequest,
    Schedule,
    ServiceAccount,
    ServiceLevel,
    SignOnIdentity,
    Token,
    Window,
)
from tests.made_hooks import Sender
from tests.portal import sign_ons

# The columns of the table of entry points: who acts. The requester is an operator, and the request is theirs.
ROLES = ("viewer", "requester", "operator", "approver", "manager", "auditor", "administrator", "stranger")
# `done`, `refused` (by the verb) and `forbidden` (403, before a verb was checked) leave exactly one entry in the audit
# trail; `not_found` (404) and `hidden`, where this person sees no row to act on, leave none.
OUTCOMES = ("done", "refused", "forbidden", "not_found", "hidden")
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Site:
    """One environment with one of everything in it."""

    environment: Environment
    deployment: Deployment
    run: Run
    stuck: Run
    stalled: Run
    failed: Run
    run_request: RunRequest
    broken: RunRequest
    change: ChangeRequest
    backfill: ChangeRequest
    schedule: Schedule
    paused_schedule: Schedule
    native_schedule: Schedule
    paused: Deployment
    pool: WorkPool
    queue: WorkQueue
    paused_pool: WorkPool
    paused_queue: WorkQueue
    unassigned: UnassignedDeployment
    alias: Alias
    grant: Grant
    person: User
    group: Group
    unused: Environment
    policy: Policy
    window: Window
    robot: ServiceAccount
    token: Token
    sender: Sender
    hook: Hook
    event_rule: EventRule
    job_trust: JobTrust
    agent: Agent
    stopped: Agent
    preset: Preset
    shared_preset: Preset
    failure: FailureGroup
    chain: Chain
    # A run of it: its first step has failed, its second waits at its gate.
    chain_run: ChangeRequest
    level: ServiceLevel
    notification_rule: NotificationRule
    profile: ResourceProfile
    global_limit: GlobalLimit
    channel: Channel
    disabled_channel: Channel
    delivery: Delivery

    @property
    def slug(self) -> str:
        return self.environment.slug


@dataclass(frozen=True)
class Visitor:
    """Somebody, with their browser."""

    user: User
    client: Client


Knock = Callable[[Visitor, Site], Any]


@dataclass(frozen=True)
class Door:
    """Where it is, as the code calls it, and how to knock; what becomes of it is in tests/expectations/doors.json."""

    place: str
    knock: Knock


def press(route: str, subject: str = "", /, **data: Any) -> Knock:
    """A button: POST to an address of the admin about one of the site's rows."""

    def knock(visitor: Visitor, site: Site) -> Any:
        args = [getattr(site, subject).pk] if subject else []
        return visitor.client.post(reverse(f"admin:{route}", args=args), filled(data, site))

    return knock


def press_queue(route: str, subject: str, /, **data: Any) -> Knock:
    """A button of a work queue, on the page of its pool."""

    def knock(visitor: Visitor, site: Site) -> Any:
        queue = getattr(site, subject)
        address = reverse(f"admin:{route}", args=[queue.pool_id, queue.pk])
        return visitor.client.post(address, filled(data, site))

    return knock


def press_schedule(route: str, name: str, /, **data: Any) -> Knock:
    """A button of one schedule that Prefect has from code, by its slug, on the page of its deployment."""

    def knock(visitor: Visitor, site: Site) -> Any:
        (found,) = [each for each in site.paused.schedules if each["slug"] == name]
        address = reverse(f"admin:{route}", args=[site.paused.pk, found["id"]])
        return visitor.client.post(address, filled(data, site))

    return knock


def remove_own_address(visitor: Visitor, site: Site) -> Any:
    User.objects.filter(pk=visitor.user.pk).update(email="somebody@example.org")
    return visitor.client.post(reverse("profile_email"), {"email": "", "password": PASSWORD})


def press_own(route: str, /, **data: Any) -> Knock:
    """A button of one's own profile, which is beside the admin's pages."""
    return lambda visitor, site: visitor.client.post(reverse(route), filled(data, site))


def delete_own_view(visitor: Visitor, site: Site) -> Any:
    view = SavedView.objects.create(owner=visitor.user, list="runs.run", name="Failed", query="state=FAILED")
    return visitor.client.post(reverse("admin:view_delete", args=[view.pk]))


def end_own_session(visitor: Visitor, site: Site) -> Any:
    """The button that signs out another browser of theirs."""
    other = Client()
    other.force_login(visitor.user)
    number = browser_sessions.number_of(str(other.session.session_key))
    return visitor.client.post(reverse("profile_end_session"), {"session": number})


def delete_own_pin(visitor: Visitor, site: Site) -> Any:
    """The button that unpins, of one whose pin is there, whether they see the deployment now or not."""
    Pin.objects.create(owner=visitor.user, environment=site.deployment.environment, full_name=site.deployment.full_name)
    return visitor.client.post(reverse("admin:flows_deployment_unpin", args=[site.deployment.pk]))


def ask_backfill(visitor: Visitor, site: Site) -> Any:
    """The form of a backfill, and the submission of its plan."""
    address = reverse("admin:flows_deployment_backfill", args=[site.deployment.pk])
    typed = {
        "first": "rows",
        "first_values": "1..3",
        "at_once": "2",
        "on_failure": "stop",
        "reason": "month end",
        "parameters-month": "2026-10",
        "submission_key": uuid.uuid4(),
    }
    answer = visitor.client.post(address, typed)
    sent = dict(re.findall(r'name="(draft|plan)" value="([^"]+)"', answer.content.decode()))
    if "draft" not in sent:
        return answer
    return visitor.client.post(address, {**sent, "confirmation": site.deployment.full_name})


def ask_schedule(visitor: Visitor, site: Site) -> Any:
    """The form of a schedule, and the submission of what was reviewed."""
    address = reverse("admin:flows_deployment_schedule", args=[site.deployment.pk])
    typed = {
        "name": "nightly",
        "rule_type": "interval",
        "rule": "1h",
        "time_zone": "UTC",
        "catch_up": "none",
        "valid_until": f"{timezone.now() + timedelta(days=9):%Y-%m-%dT%H:%M}",
        "reason": "month end",
        "parameters-month": "2026-10",
        "submission_key": uuid.uuid4(),
    }
    answer = visitor.client.post(address, typed)
    sent = dict(re.findall(r'name="(draft)" value="([^"]+)"', answer.content.decode()))
    if "draft" not in sent:
        return answer
    return visitor.client.post(address, {**sent, "confirmation": site.deployment.full_name})


def filled(data: dict[str, Any], site: Site) -> dict[str, Any]:
    return {name: value(site) if callable(value) else value for name, value in data.items()}


def ask(name: str) -> Knock:
    """The run form or the quick run, with what they send back, and the confirmation where one is wanted."""

    def knock(visitor: Visitor, site: Site) -> Any:
        address = reverse(f"admin:{name}", args=[site.deployment.pk])
        typed = {
            "start": "now",
            "reason": "month end",
            "parameters-month": "2026-10",
            "parameters-rows": "100",
            "submission_key": uuid.uuid4(),
            "form_fingerprint": site.deployment.schema_fingerprint,
        }
        answer = visitor.client.post(address, typed)
        draft = re.search(r'name="draft" value="([^"]+)"', answer.content.decode())
        if draft is None:
            return answer
        form = reverse("admin:flows_deployment_run", args=[site.deployment.pk])
        word = site.slug if "quick" in name else site.deployment.full_name
        return visitor.client.post(form, {"draft": draft[1], "confirmation": word, "reason": "month end"})

    return knock


def act(model: str, action: str, subject: str, **data: Any) -> Knock:
    """An action of a list, on one row that is ticked."""

    def knock(visitor: Visitor, site: Site) -> Any:
        app, _, name = model.lower().partition(".")
        row = getattr(site, subject)
        body = {"action": action, "_selected_action": [row.pk], "index": "0", "reason": "r", **filled(data, site)}
        return visitor.client.post(reverse(f"admin:{app}_{name}_changelist"), body)

    return knock


def order(name: str, *words: Any, **options: Any) -> Knock:
    """A command, by `--as` the visitor."""

    def knock(visitor: Visitor, site: Site) -> Any:
        said = [word(site) if callable(word) else word for word in words]
        silent = io.StringIO()
        with contextlib.suppress(SystemExit):
            call_command(
                name,
                *map(str, said),
                "--as",
                visitor.user.username,
                stdout=silent,
                stderr=silent,
                **filled(options, site),
            )

    return knock


# What makes a protected environment looser is confirmed by its name; ignored where nothing is loosened.
CONFIRMED = {"loosening_reason": "r", "loosening_confirm": lambda site: site.slug}
ENVIRONMENT = {
    **CONFIRMED,
    "slug": lambda site: site.slug,
    "api_url": lambda site: site.environment.server.api_url,
    "position": "5",
    "credential_kind": "none",
    "approval_minutes": "30",
    "independence_hours": "24",
    "pending_minutes": "5",
    "late_minutes": "15",
    "silent_minutes": "60",
    "cancelling_minutes": "10",
    "keep_runs_days": "0",
    "keep_events_days": "0",
    "is_active": "on",
    "needs_approval": "on",
}
NAME = {"name": "new-name", "full_name": "monthly/monthly", "environment": lambda site: site.environment.pk}
PERSON = {"username": "new", "usable_password": "false", "is_staff": "on", **CONFIRMED}
POLICY = {"name": "new", "outside_window": "wait", "risk": "low", "environment": lambda site: site.environment.pk}
POLICY |= CONFIRMED
WINDOW = {
    **CONFIRMED,
    "name": "new",
    "effect": "deny",
    "cron": "0 3 * * *",
    "minutes": "60",
    "time_zone": "UTC",
    "environment": lambda site: site.environment.pk,
}
CONNECTION = {
    "api_url": lambda site: site.environment.server.api_url,
    "credential_kind": "none",
    "environment": lambda site: site.environment.pk,
}
GRANT = {
    "who": lambda site: f"person:{site.person.pk}",
    "effect": "allow",
    "verbs": ["cancel"],
    "environment": lambda site: site.environment.pk,
    "reason": "r",
}

SERVICE_ACCOUNT = {"owner": lambda site: site.robot.owner_id, "purpose": "deploys", "is_active": "on"}

AGENT = {"purpose": "month end", "requests_per_day": "4", "requests_at_once": "2"}


def create_token(visitor: Visitor, site: Site) -> Any:
    """The form of a new token, for oneself, with one scope."""
    typed = {
        "account": visitor.user.pk,
        "name": "weekly CI",
        "lifetime": "30",
        "scopes-TOTAL_FORMS": "1",
        "scopes-INITIAL_FORMS": "0",
        "scopes-0-verbs": ["see"],
    }
    return visitor.client.post(reverse("admin:runs_token_new"), typed)


PROFILE = {
    "place": lambda site: f"{site.environment.pk}/pool/gpu",
    "name": "new",
    "work_queue": "fast",
    "loosening_reason": "r",
    "loosening_confirm": lambda site: site.slug,
}


def press_delivery(visitor: Visitor, site: Site) -> Any:
    """The button that sends a message to a channel once more."""
    keys = [site.delivery.channel_id, site.delivery.pk]
    return visitor.client.post(reverse("admin:runs_channel_replay", args=keys))


CHANNEL = {"name": "new", "kind": "slack", "address": "https://example.com/x", "newest": "99999999"}

LEVEL = {"environment": lambda site: site.environment.pk, "kind": "late", "threshold": "7"}

HOOK = {
    "name": "weekly orders",
    "mapping": '{"month": {"pointer": "/month"}}',
    "predicate": "",
    "kilobytes": "64",
    "kind": "standard",
    "account": lambda site: site.hook.account_id,
    "deployment": lambda site: site.deployment.pk,
}


# One step of the deployment of the site, as the form of a chain sends it.
CHAIN = {
    "name": "Monthly close",
    "environment": lambda site: site.environment.pk,
    "steps": "1",
    "step-0-key": "ingest",
    "step-0-deployment": lambda site: site.deployment.full_name,
    "step-0-parameters": "month = {month}",
}
CHAIN_RUN = {
    "version": lambda site: site.chain.number,
    "parameters-month": "2026-10",
    "reason": "month end",
    "confirmation": lambda site: site.chain.name,
}


def at_gate(site: Site) -> int:
    return site.chain_run.run_requests.get(spec__position=1).pk


RULE = {
    "name": "weekly load",
    "trigger": "run",
    "states": ["FAILED"],
    "conditions": "",
    "mapping": '{"month": {"value": "2026-10"}}',
    "debounce_seconds": "0",
    "per_hour": "5",
    "deployment": lambda site: site.deployment.pk,
}


def secret(site: Site) -> int:
    return site.hook.secrets.earliest("pk").pk


def message(visitor: Visitor, site: Site) -> Any:
    """A signed message: anyone who knows the secret of a hook can send it, without an account."""
    site.sender.send({"data": {"month": "2026-10"}}, f"msg_{visitor.user.username}")


def trust_job(visitor: Visitor, site: Site) -> Any:
    """The form of a new trusted job, for the service account of the site, with one scope."""
    typed = {
        "account": site.robot.user_id,
        "name": "nightly",
        "lifetime": "30",
        "provider": "github",
        "issuer": site.job_trust.issuer,
        "audience": "https://portal.example.com",
        "token_minutes": "15",
        "repository": "acme/nightly",
        "ref": "refs/heads/main",
        "scopes-TOTAL_FORMS": "1",
        "scopes-INITIAL_FORMS": "0",
        "scopes-0-verbs": ["see"],
    }
    return visitor.client.post(reverse("admin:runs_jobtrust_new"), typed)


def tomorrow(site: Site) -> str:
    return f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}Z"


def slug(site: Site) -> str:
    return site.slug


def full_name(site: Site) -> str:
    return site.deployment.full_name


def run_id(site: Site) -> str:
    return str(site.run.prefect_id)


def seen(site: Site) -> str:
    return site.run_request.change.digest


def sign_in(visitor: Visitor, site: Site) -> Any:
    return Client().post(reverse("admin:login"), {"username": visitor.user.username, "password": PASSWORD})


def sign_in_again(visitor: Visitor, site: Site) -> Any:
    return visitor.client.post(reverse("sign_in_again"), {"username": visitor.user.username, "password": PASSWORD})


def sign_on(visitor: Visitor, site: Site) -> Any:
    client, subject = Client(), f"subject-{visitor.user.pk}"
    with sign_ons.provider() as issuer, override_settings(**sign_ons.settings_of(issuer)):
        SignOnIdentity.objects.create(person=visitor.user, issuer=issuer, subject=subject, email="x@portal.example")
        return sign_ons.come_back(client, sign_ons.consent(sign_ons.leave(client), subject))


def request_link(visitor: Visitor, site: Site) -> Any:
    User.objects.filter(pk=visitor.user.pk).update(email="visitor@portal.example")
    return Client().post(reverse("admin_password_reset"), {"email": "visitor@portal.example"})


def use_link(visitor: Visitor, site: Site) -> Any:
    client = Client()
    form = client.get(path_of_link(User.objects.get(pk=visitor.user.pk))).headers["Location"]
    return client.post(form, {"new_password1": "Xk7-long-enough", "new_password2": "Xk7-long-enough"})


def sign_selected(visitor: Visitor, site: Site) -> Any:
    looked_at = {f"seen-{site.run_request.pk}": site.run_request.change.digest}
    return act("runs.RunRequest", "approve_selected", "run_request", **looked_at)(visitor, site)


def frozen(knock: Knock) -> Knock:
    """Where runs have been stopped."""

    def knock_there(visitor: Visitor, site: Site) -> Any:
        Freeze.objects.create(environment=site.environment, reason="year end", begun_by_name="somebody")
        return knock(visitor, site)

    return knock_there


def all_stopped(knock: Knock) -> Knock:
    """Where all agents have been stopped."""

    def knock_there(visitor: Visitor, site: Site) -> Any:
        AgentStop.objects.create(why="a leak", stopped_by_name="somebody")
        return knock(visitor, site)

    return knock_there


def unapproved(knock: Knock) -> Knock:
    """Where no run needs an approval."""

    def knock_there(visitor: Visitor, site: Site) -> Any:
        Environment.objects.filter(pk=site.environment.pk).update(needs_approval=False)
        return knock(visitor, site)

    return knock_there
