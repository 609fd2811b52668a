"""Find what can start runs in a protected environment without the portal. The only code that writes `Bypass`.

Prefect's own schedules and automations ask nobody here; a deployment whose code was changed after its last approval
runs other code by them. Runs that were started directly are recorded one by one (`runs.mirror.external_runs`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from flows import canonical
from flows.db_text import sanitize
from flows.models import Automation, Deployment, Environment
from runs import audit, events, native_schedules
from runs.actors import Actor
from runs.governance.loosening import is_guarded
from runs.models import Bypass, ChangeRequest, RunEvent, RunSpec

VERB = "bypass.found"
# What an automation does with a deployment, in words.
ACTIONS = {"run-deployment": "runs", "resume-deployment": "resumes the schedules of"}
# Where a run gets its code from: field of a definition -> what it is called
CODE = {"entrypoint": "entrypoint", "path": "path", "pull_steps": "pull steps", "storage_document_id": "storage block"}
# Ways that an entry and a message name.
NAMED = 10
KEPT = timedelta(days=90)
LONGEST_NAME = 650


@dataclass(frozen=True, slots=True)
class Way:
    """One way, with what tells it from others."""

    kind: Bypass.Kind
    key: tuple[str, ...]
    name: str
    detail: str
    deployment: Deployment | None = None

    @property
    def identity(self) -> str:
        return canonical.digest(list(self.key))


def report(environment: Environment) -> int:
    """Compare the ways there are with those that are known; record new ones and notify overseers. Returns how many.

    From what was synced last: a server that cannot be read changes nothing.
    """
    with transaction.atomic():
        # One at a time: two at once would report the same.
        Environment.objects.select_for_update().get(pk=environment.pk)
        now = timezone.now()
        found = {(way.kind.value, way.identity): way for way in ways(environment)}
        known = Bypass.objects.filter(environment=environment, gone_at=None)
        open_ways = {(row.kind, row.identity): row for row in known}
        gone = [row.pk for key, row in open_ways.items() if key not in found]
        Bypass.objects.filter(pk__in=gone).update(gone_at=now)
        Bypass.objects.filter(environment=environment, gone_at__lt=now - KEPT).delete()
        new = [way for key, way in found.items() if key not in open_ways]
        if not new:
            return 0
        rows = [
            Bypass(
                environment=environment,
                kind=way.kind,
                identity=way.identity,
                deployment=way.deployment,
                name=sanitize(way.name)[:LONGEST_NAME],
                detail=sanitize(way.detail),
                found_at=now,
            )
            for way in new
        ]
        Bypass.objects.bulk_create(rows)
        lines = [f"{row} ({row.detail})" if row.detail else str(row) for row in rows]
        facts = {"lines": lines[:NAMED], "more": max(len(lines) - NAMED, 0)}
        events.record(RunEvent.Kind.BYPASS_FOUND, environment=environment, data=facts)
        by = Actor.system("Prefect")
        with audit.act(VERB, environment, by=by, environment=environment.slug) as act:
            act.before, act.after = {"ways": len(open_ways)}, {"ways": len(found), "new": len(new), **facts}
    return len(new)


def ways(environment: Environment) -> Iterator[Way]:
    """Yield the bypasses; none where nothing is protected."""
    if not is_guarded(environment) or not environment.is_active:
        return
    deployed = {
        str(each.prefect_id): each
        for each in Deployment.objects.filter(environment=environment, deleted_upstream_at=None).only(
            "prefect_id", "full_name", "schedules", "is_paused", "definition_fingerprint", "environment"
        )
    }
    yield from schedules(deployed.values())
    yield from automations(environment, deployed)
    yield from changed_code(environment, deployed.values())


def schedules(deployments: Collection[Deployment]) -> Iterator[Way]:
    """Yield the active schedules in Prefect, but those of the portal that are there as they were approved."""
    approved = native_schedules.unharmed(deployments)
    for deployment in deployments:
        active = [] if deployment.is_paused else [each for each in deployment.schedules if each["is_active"]]
        for schedule in active:
            if (deployment.pk, schedule.get("slug")) in approved:
                continue
            text = str(schedule["description"])
            key = (str(deployment.prefect_id), text)
            yield Way(Bypass.Kind.SCHEDULE, key, deployment.full_name, text, deployment)


def automations(environment: Environment, deployed: dict[str, Deployment]) -> Iterator[Way]:
    for automation in Automation.objects.filter(environment=environment, is_enabled=True):
        for start in automation.starts:
            deployment = deployed.get(start["deployment"])
            # One of a deployment that is gone starts nothing.
            if deployment is None and start["deployment"]:
                continue
            what = str(deployment) if deployment else "any deployment that its event names"
            key = (str(automation.prefect_id), start["action"], start["deployment"])
            detail = f"{ACTIONS.get(start['action'], start['action'])} {what}"
            yield Way(Bypass.Kind.AUTOMATION, key, automation.name, detail, deployment)


def changed_code(environment: Environment, deployments: Iterable[Deployment]) -> Iterator[Way]:
    """Yield the deployments whose entrypoint or pull steps differ from those that were approved last."""
    beyond = [ChangeRequest.State.APPROVED, ChangeRequest.State.CLOSED]
    specs = RunSpec.objects.filter(
        deployment__environment=environment, change__needs_approval=True, change__state__in=beyond
    )
    # 1. Those that have any other definition; by name, because one that was deployed again has another key.
    latest = specs.order_by("deployment_name", "-pk").distinct("deployment_name")
    fingerprints = latest.values_list("deployment_name", "pk", "definition_fingerprint")
    approved = {name: (pk, fingerprint) for name, pk, fingerprint in fingerprints}
    moved = {
        each.pk: approved[each.full_name][0]
        for each in deployments
        if each.full_name in approved and approved[each.full_name][1] != each.definition_fingerprint
    }
    # 2. Their definitions, which are large.
    stored = RunSpec.objects.only("definition", "change_id").in_bulk(moved.values())
    for deployment in Deployment.objects.filter(pk__in=moved).order_by("pk"):
        spec = stored[moved[deployment.pk]]
        if spec.definition.get("format") != deployment.definition.get("format"):
            continue
        changed = [
            name for name in CODE if not canonical.same(spec.definition.get(name), deployment.definition.get(name))
        ]
        if changed:
            key = (str(deployment.prefect_id), canonical.digest([deployment.definition.get(name) for name in CODE]))
            labels = ", ".join(CODE[name] for name in changed)
            detail = f"{labels}, since change request {spec.change_id}"
            yield Way(Bypass.Kind.CODE, key, deployment.full_name, detail, deployment)
