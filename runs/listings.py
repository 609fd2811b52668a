"""The lists: of each the rows that an actor sees, its filters and its order. Pages and the API read the same ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, Prefetch, Q, Subquery

from flows.models import Alias, Deployment, Environment
from runs import list_filters
from runs.access.decisions import Permissions
from runs.access.whole_chains import sees_whole_chain
from runs.actors import Actor
from runs.governance import requirements, rule_changes
from runs.listing import Filter, Listing
from runs.models import (
    Artifact,
    AuditEntry,
    ChangeRequest,
    Freeze,
    Grant,
    LogLine,
    Policy,
    Run,
    RunEvent,
    RunRequest,
    RunSpec,
    Schedule,
    TaskRun,
    Verb,
    Window,
)

# Who sees what --------------------------------------------------------------------------------------------------------


def sees_run(by: Actor, permissions: Permissions) -> Q:
    return permissions.q(Verb.SEE, deployment="access_deployment__")


def sees_request(by: Actor, permissions: Permissions) -> Q:
    return permissions.q(Verb.SEE, deployment="deployment__")


def sees_change(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for change requests of which the actor sees a run, and for changes of rules.

    Of a chain everything must be visible; before it is approved it has no run yet.
    """
    visible = RunRequest.objects.filter(sees_request(by, permissions), change=OuterRef("pk"))
    runs = (~Q(kind=ChangeRequest.Kind.CHAIN) & Q(Exists(visible))) | sees_whole_chain(permissions)
    # Before its first run there is only what it would run.
    schedules = Schedule.objects.filter(permissions.q(Verb.SEE, deployment="deployment__"), change=OuterRef("pk"))
    # A scope is about deployments: it opens no change of rules.
    rules = rule_changes.visible_to(by) if by.scope is None else Q(pk__in=[])
    return runs | Q(Exists(schedules)) | rules


def sees_environment(by: Actor, permissions: Permissions) -> Q:
    return Q(pk__in=permissions.environments().values("pk"))


def sees_rule(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the rules of environments that the actor sees; those of all environments are for all."""
    return Q(environment=None) | Q(environment__in=permissions.environments().values("pk"))


def sees_event(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for events about runs and requests that the actor sees, and about whole environments."""
    of_run = Run.objects.filter(sees_run(by, permissions), pk=OuterRef("run_id"))
    of_request = RunRequest.objects.filter(sees_request(by, permissions), pk=OuterRef("request_id"))
    of_environment = Q(kind__in=OF_ENVIRONMENTS, environment_id__in=permissions.environments().values("pk"))
    return Q(position__isnull=False) & (Exists(of_run) | Exists(of_request) | of_environment)


def sees_artifact(by: Actor, permissions: Permissions) -> Q:
    return permissions.q(Verb.SEE_LOGS, deployment="run__access_deployment__", base="run__") & permissions.q(
        Verb.SEE, deployment="run__access_deployment__", base="run__"
    )


def sees_grant(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the actor's grants and those they gave, where they see the environment.

    Readers of the trail see all.
    """
    if rule_changes.oversees(by):
        return Q()
    theirs = Q(person=by.user) | Q(group__in=by.user.groups.values("pk"))
    return (theirs | Q(granted_by=by.user)) & sees_rule(by, permissions)


def sees_entry(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for entries about what the actor did, with this token; readers of the trail see all."""
    if rule_changes.reads_trail(by):
        return Q()
    own = Q(actor_id=str(by.user.pk)) & ~Q(actor_kind="system")
    return own if by.scope is None else own & Q(token_id=by.token_id)


# The lists ------------------------------------------------------------------------------------------------------------

IN_ENVIRONMENT = Filter(list_filters.in_environment, str, "Name of the environment.")
SINCE = Filter("sort_at__gte", datetime, "Not before this time.")
UNTIL = Filter("sort_at__lt", datetime, "Before this time.")

ENVIRONMENTS = Listing(
    "environments",
    Environment,
    sees_environment,
    ("position", "pk"),
    {"protected": Filter("is_protected", bool, "Whether it is protected.")},
    related=("server__health",),
)
DEPLOYMENTS = Listing(
    "deployments",
    Deployment,
    lambda by, permissions: permissions.q(Verb.SEE),
    ("full_name", "pk"),
    {
        "environment": IN_ENVIRONMENT,
        "name": Filter("full_name", str, "Full name, “flow/deployment”."),
        "flow": Filter("flow_name", str, "Name of the flow."),
        "search": Filter("full_name__icontains", str, "Part of the full name."),
        "tag": Filter("tags__contains", list[str], "Has all these tags."),
        "paused": Filter("is_paused", bool, "Whether it is paused."),
        "deployed": Filter("deleted_upstream_at__isnull", bool, "Whether Prefect still has it."),
    },
    related=("environment",),
    annotations={
        "aliases": ArraySubquery(
            Alias.objects.filter(environment=OuterRef("environment"), full_name=OuterRef("full_name"))
            .order_by("name")
            .values("name")
        )
    },
)
RUNS = Listing(
    "runs",
    Run,
    sees_run,
    ("-sort_at", "-pk"),
    {
        "environment": IN_ENVIRONMENT,
        "deployment": Filter("deployment_name", str, "Full name of the deployment."),
        "flow": Filter("flow_name", str, "Name of the flow."),
        "state": Filter(
            list_filters.in_run_states,
            list[list_filters.RunState],
            "Prefect's state types, such as RUNNING; ACTIVE, that is not ended; or DELETED. Several match any.",
        ),
        "tag": Filter("tags__contains", list[str], "Has all these tags."),
        "name": Filter("name", str, "Name of the run."),
        "id": Filter("prefect_id", UUID, "Prefect's id of the run."),
        "request": Filter("run_request", int, "Number of the run request it was started for."),
        "work_pool": Filter("work_pool_name", str, "Name of the work pool."),
        "work_queue": Filter("work_queue_name", str, "Name of the work queue."),
        "schedule": Filter("schedule", int, "Number of the schedule by which Prefect started it for the portal."),
        "requested": Filter("created_by_portal", bool, "Whether it was requested here, not started in Prefect."),
        "stalled": Filter(list_filters.is_stalled, bool, "Whether it is stalled."),
        "failure": Filter("failure__group", int, "Number of the failure group it is in."),
        "origin": Filter(
            list_filters.of_origin,
            list_filters.Origin,
            "What started it: portal, schedule, subflow, or outside.",
        ),
        "parameter": Filter(
            list_filters.with_parameter,
            str,
            "A parameter, “name=value”; the value is JSON or a text. On runs whose parameters the token can view.",
            needs=Verb.SEE_INPUTS,
        ),
        "search": Filter(
            list_filters.search_runs,
            str,
            "All these words: each a part of the name of the run or its deployment, a state, or a whole id.",
            shortest=3,
        ),
        "since": SINCE,
        "until": UNTIL,
    },
    deployment="access_deployment__",
    related=("environment", "access_deployment__environment", "run_request__change", "run_request__spec", "parent"),
    only=(
        *("environment__slug", "environment__is_protected"),
        *("access_deployment__full_name", "access_deployment__flow_name", "access_deployment__tags"),
        *("access_deployment__environment__slug", "access_deployment__environment__is_protected"),
        *("run_request__change__requested_by", "run_request__change__requested_by_name", "run_request__spec__is_blind"),
        *("parent__prefect_id", "prefect_id", "name", "flow_name", "deployment_name", "parameters", "tags"),
        *("state_type", "state_name", "state_message", "stalled_kind", "deleted_upstream_at", "created_by_portal"),
        *("expected_start_at", "started_at", "ended_at", "run_seconds", "sort_at", "synced_at"),
    ),
)
REQUESTS = Listing(
    "requests",
    RunRequest,
    sees_request,
    ("-sort_at", "-pk"),
    {
        "environment": IN_ENVIRONMENT,
        "deployment": Filter("spec__deployment_name", str, "Full name of the deployment."),
        "state": Filter("state__in", list[str], "States of the request; several match any."),
        "change": Filter("change", int, "Number of the change request."),
        "schedule": Filter("change__occurrence_of", int, "Number of a schedule of which each run is approved."),
        "requested_by": Filter("change__requested_by_name", str, "User name of the requester."),
        "ticket": Filter("change__ticket", str, "Ticket."),
        "search": Filter(
            list_filters.search_requests,
            str,
            "All these words: each a part of the deployment, requester or reason, or a state, ticket or number.",
        ),
        "since": SINCE,
        "until": UNTIL,
    },
    related=("environment", "deployment__environment", "change", "spec", "run"),
    only=(
        *("environment__slug", "environment__is_protected"),
        *("deployment__full_name", "deployment__flow_name", "deployment__tags"),
        *("deployment__environment__slug", "deployment__environment__is_protected"),
        *("change__requested_by", "change__requested_by_name", "spec__deployment_name", "run__state_type"),
        *("state", "message", "scheduled_for", "flow_run_id", "run_state", "requested_at", "launched_at", "sort_at"),
    ),
)
CHANGES = Listing(
    "changes",
    ChangeRequest,
    sees_change,
    ("-requested_at", "-pk"),
    {
        "environment": IN_ENVIRONMENT,
        "kind": Filter("kind__in", list[str], "Kinds; several match any."),
        "state": Filter("state__in", list[str], "States; several match any."),
        "requested_by": Filter("requested_by_name", str, "User name of the requester."),
        "ticket": Filter("ticket", str, "Ticket."),
        "key": Filter("submission_key", UUID, "The submission key it was submitted with."),
        "since": Filter("requested_at__gte", datetime, SINCE.description),
        "until": Filter("requested_at__lt", datetime, UNTIL.description),
    },
    related=("environment", "schedule__spec", "schedule__deployment__environment"),
    prefetched=(
        "approvals",
        "comments",
        Prefetch(
            "run_requests",
            # Of a schedule they are without end: the list of run requests has them in pages.
            RunRequest.objects.exclude(change__kind=ChangeRequest.Kind.SCHEDULE)
            .select_related("environment", "deployment__environment", "spec", "run")
            .order_by("pk"),
        ),
        # Of a chain all steps, those too that have no run yet; of a backfill there could be a thousand.
        Prefetch(
            "specs",
            RunSpec.objects.filter(change__kind=ChangeRequest.Kind.CHAIN)
            .select_related("deployment__environment")
            .order_by("position"),
            to_attr="chain_specs",
        ),
    ),
)
ARTIFACTS = Listing(
    "artifacts",
    Artifact,
    sees_artifact,
    ("-pk",),
    {
        "environment": IN_ENVIRONMENT,
        "key": Filter("key", str, "Key of the artifact."),
        "type": Filter("type", str, "Type, such as markdown or table."),
        "run": Filter("run__prefect_id", UUID, "Prefect's id of the run."),
    },
    related=("environment", "run"),
)
GRANTS = Listing(
    "grants",
    Grant,
    sees_grant,
    ("-granted_at", "-pk"),
    {
        "environment": IN_ENVIRONMENT,
        "person": Filter("person__username", str, "User name."),
        "group": Filter("group__name", str, "Name of the group."),
        "verb": Filter("verbs__contains", list[str], "Has all these verbs."),
        "effect": Filter("effect", str, "allow or deny."),
        "active": Filter("revoked_at__isnull", bool, "false: only those that were revoked."),
    },
    related=("environment", "person", "group"),
)
POLICIES = Listing(
    "policies",
    Policy,
    sees_rule,
    ("name",),
    {"environment": IN_ENVIRONMENT},
    related=("environment",),
    keep=requirements.visible,
)
WINDOWS = Listing(
    "windows",
    Window,
    sees_rule,
    ("name", "pk"),
    {"environment": IN_ENVIRONMENT, "active": Filter("is_active", bool, "Whether it is in force.")},
    related=("environment",),
    keep=requirements.visible,
)
FREEZES = Listing(
    "freezes",
    Freeze,
    sees_rule,
    ("-begun_at", "-pk"),
    {"environment": IN_ENVIRONMENT, "active": Filter("lifted_at__isnull", bool, "false: only those that were lifted.")},
    related=("environment",),
)
# Others are about rows by keys that only the portal knows, or about rules, which a token does not read.
OF_ENVIRONMENTS = (
    RunEvent.Kind.FREEZE_STARTED,
    RunEvent.Kind.FREEZE_ENDED,
    RunEvent.Kind.ENVIRONMENT_DISABLED,
    RunEvent.Kind.ENVIRONMENT_DOWN,
    RunEvent.Kind.ENVIRONMENT_BACK,
)
EVENTS = Listing(
    "events",
    RunEvent,
    sees_event,
    ("position",),
    {
        "environment": Filter("environment_slug", str, IN_ENVIRONMENT.description),
        "kind": Filter("kind__in", list[str], "Kinds, such as “run moved”; several match any."),
        "deployment": Filter("deployment_name", str, "Full name of the deployment."),
        "run": Filter("run_prefect_id", UUID, "Prefect's id of the run."),
        "request": Filter("request_id", int, "Number of the run request."),
        "change": Filter("change_id", int, "Number of the change request."),
        "after": Filter("position__gt", int, "Only those after the one with this id."),
        "since": Filter("observed_at__gte", datetime, SINCE.description),
    },
    annotations={
        "environment_slug": Subquery(Environment.objects.filter(pk=OuterRef("environment_id")).values("slug")),
        "deployment_name": Subquery(Deployment.objects.filter(pk=OuterRef("deployment_id")).values("full_name")),
        "run_prefect_id": Subquery(Run.objects.filter(pk=OuterRef("run_id")).values("prefect_id")),
    },
)
# Of one run, which its reader was found to see.
LOGS = Listing(
    "logs",
    LogLine,
    lambda by, permissions: Q(),
    ("at", "pk"),
    {
        "run": Filter("run", int, "Key of the run."),
        "after": Filter("pk__gt", int, "Only lines that became known after the one with this id, in that order."),
        "level": Filter("level__gte", int, "This level and above: 20 info, 30 warning, 40 error."),
        "task_run": Filter("task_run_id", UUID, "Prefect's id of the task run."),
        "since": Filter("at__gte", datetime, SINCE.description),
    },
)
# The same in the order in which the lines became known: nothing is missed by who asks for those after the last one.
LOGS_AS_FOUND = replace(LOGS, name="logs as found", order=("pk",))
TASK_RUNS = Listing(
    "task_runs",
    TaskRun,
    lambda by, permissions: Q(),
    ("pk",),
    {
        "run": Filter("run", int, "Key of the run."),
        "state": Filter("state_type__in", list[str], "Prefect's state types; several match any."),
    },
)
AUDIT = Listing(
    "audit",
    AuditEntry,
    sees_entry,
    ("-sequence",),
    {
        "environment": Filter("environment", str, IN_ENVIRONMENT.description),
        "verb": Filter("verb__in", list[str], "Verbs, such as request.approve; several match any."),
        "actor": Filter("actor_name", str, "Name of the actor."),
        "token": Filter("token_id", str, "Key of the token by which it was done."),
        "outcome": Filter("outcome", str, "done, refused or failed."),
        "subject_kind": Filter("subject_kind", str, "Kind of the subject."),
        "subject": Filter("subject_id", str, "Key of the subject."),
        "since": Filter("at__gte", datetime, SINCE.description),
        "until": Filter("at__lt", datetime, UNTIL.description),
    },
)
