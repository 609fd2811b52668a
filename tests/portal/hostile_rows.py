"""Rows of what is built on deployments and runs: chains, backfills, levels, failures, presets, artifacts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs import mirror
from runs.automation import chains
from runs.levels import level_changes
from runs.models import Artifact, Breach, ChangeRequest, Run
from runs.requests import presets, submit_backfill
from tests.cast import by
from tests.failed_runs import a_failure
from tests.fakes.prefect import FakePrefect

LONGEST = 100


def rows_of(
    deployment: Deployment, fake: FakePrefect, reader: User, bad: Callable[[str], str]
) -> dict[str, Sequence[object]]:
    """Make one of each; return their keys by app and model, as addresses name them."""
    environment, actor = deployment.environment, by(reader)
    # 1. Change requests of more than one run, which wait for an approval.
    steps = [
        {"key": "first", "deployment": deployment.full_name, "parameters": {"text": {"value": bad("chainvalue")}}},
        {"key": "second", "deployment": deployment.full_name, "after": [{"step": "first"}], "gate": True},
    ]
    version = chains.save(
        environment, bad("chainname")[:LONGEST], {"steps": steps}, by=actor, description=bad("chaintext")
    )
    chains.request_run(version.chain, {}, by=actor, reason=bad("reason"))
    submit_backfill(deployment, {}, {"text": [bad("backfill"), "other"]}, by=actor, reason=bad("reason"))
    # 2. What is said about a deployment.
    preset = presets.save(
        deployment, {"text": bad("presetvalue")}, by=actor, name=bad("presetname")[:LONGEST], is_shared=True
    )
    level = level_changes.create(environment, by=actor, kind="long", threshold=1, full_name=deployment.full_name)
    Breach.objects.create(level=level, deployment=deployment, value=2, opened_at=timezone.now())
    # 3. What a run left.
    group = a_failure(deployment, f"ValueError: {bad('failure')}", number=2)
    run = Run.objects.filter(failure__group=group).latest("pk")
    fake.add_artifact(
        run.prefect_id, key="card", type="markdown", description=bad("artifact"), data=bad("artifacttext")
    )
    mirror.fetch_details(environment, [run.prefect_id])
    others = ChangeRequest.objects.exclude(kind=ChangeRequest.Kind.RUN)
    return {
        "runs/chain": [version.chain_id],
        "runs/changerequest": list(others.values_list("pk", flat=True)),
        "runs/preset": [preset.pk],
        "runs/servicelevel": [level.pk],
        "runs/failuregroup": [group.pk],
        "runs/artifact": list(Artifact.objects.values_list("pk", flat=True)),
    }
