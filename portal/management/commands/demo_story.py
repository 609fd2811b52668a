"""Gives the demo a past: months of CRM data taken through every pipeline; `manage.py demo` calls it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from flows.prefect_api.records import PrefectError
from runs import names, operators, requests
from runs.actors import Actor
from runs.automation import chains
from runs.errors import Refused
from runs.management.cli.row_waits import wait
from runs.models import Chain, RunRequest

ACQUIRE, INGEST, TRAIN = "crm-data-acquisition", "crm-data-ingestion", "monthly-win-probability-training"
KEEP, MONITOR, SCORE = "reference-data-creation", "model-drift-monitoring", "open-deal-scoring"
# The runs of one line go in parallel; each line needs the results of the one before. The generated data drifts in July
# 2017, so that the last month has something to show.
STORY: list[list[tuple[str, dict[str, str | int]]]] = [
    [(ACQUIRE, {"snapshot_month": month}) for month in ("2017-04", "2017-05")],
    [(INGEST, {"snapshot_month": month}) for month in ("2017-04", "2017-05")],
    [(TRAIN, {"current_month": "2017-04"}), (ACQUIRE, {"snapshot_month": "2017-06"})],
    [(KEEP, {"reference_period": "2017-04", "sample_size": 1000}), (INGEST, {"snapshot_month": "2017-06"})],
    [(MONITOR, {"current_month": "2017-05"}), (ACQUIRE, {"snapshot_month": "2017-07"})],
    [(TRAIN, {"current_month": "2017-05"}), (INGEST, {"snapshot_month": "2017-07"})],
    [(KEEP, {"reference_period": "2017-05", "sample_size": 1000})],
    [(MONITOR, {"current_month": "2017-06"}), (TRAIN, {"current_month": "2017-06"})],
    [(KEEP, {"reference_period": "2017-06", "sample_size": 1000})],
    [(MONITOR, {"current_month": "2017-07"}), (SCORE, {"current_month": "2017-07"})],
]
# The same pipelines as a chain: step -> flow, the parameter that is the month, and the step before.
CHAIN = "Monthly CRM close"
CHAIN_STEPS: dict[str, tuple[str, str, str]] = {
    "acquire": (ACQUIRE, "snapshot_month", ""),
    "ingest": (INGEST, "snapshot_month", "acquire"),
    "train": (TRAIN, "current_month", "ingest"),
    "reference": (KEEP, "reference_period", "train"),
    "drift": (MONITOR, "current_month", "reference"),
    "retrain": (TRAIN, "current_month", "drift"),
}
# What the drift must be for another training: a field of its artifact.
IF_HIGH = {"artifact": "crm-drift", "pointer": "/alert_level", "equals": "HIGH"}
OPERATOR = "otto"
PATIENCE_SECONDS = 300.0
# The submission key of a request is derived from its values, so that a restarted demo does not repeat it.
NAMESPACE = uuid.UUID("6f7a2a0e-4d0b-4f3e-9c5a-0d9b1f2c7e11")


class Command(BaseCommand):
    help = "Load sample data: run every CRM pipeline for several months as the demo's operator."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--environment", default="dev")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = options["environment"]
        by = operators.person(OPERATOR)
        try:
            self.save_chain(environment, by)
            for runs in STORY:
                self.run_in_parallel(environment, runs, by)
        except (Refused, PrefectError) as error:
            # Not a failure of the command: the supervisor would restart it, and fail again.
            self.stdout.write(f"Sample data is incomplete. {error}")
        else:
            self.stdout.write("Sample data is complete.")

    def save_chain(self, environment: str, by: Actor) -> None:
        """Save the chain of the pipelines; the same definition again is no new version."""
        place = names.environment(environment, by=by)
        steps = [
            {
                "key": key,
                "deployment": names.deployment(environment, flow, by=by).full_name,
                "parameters": {parameter: {"input": "month"}},
                "after": [{"step": before, **(IF_HIGH if key == "retrain" else {})}] if before else [],
                "retries": 1,
            }
            for key, (flow, parameter, before) in CHAIN_STEPS.items()
        ]
        inputs = {"month": {"description": "Month to close, as YYYY-MM", "default": STORY[-1][0][1]["current_month"]}}
        chains.save(
            place,
            CHAIN,
            {"inputs": inputs, "steps": steps},
            by=by,
            chain=Chain.objects.filter(environment=place, name=CHAIN).first(),
            description="Acquires, ingests and checks a month, and trains again if its drift is high.",
        )

    def run_in_parallel(self, environment: str, runs: Sequence[tuple[str, dict[str, str | int]]], by: Actor) -> None:
        """Request the runs and wait until all have completed; raises `Refused` if one did not."""
        requested = [self.request(environment, flow, values, by) for flow, values in runs]
        for run_request in requested:
            ended = wait(run_request, seconds=PATIENCE_SECONDS)
            self.stdout.write(f"{ended}: {ended.get_state_display()}.")
            if ended.state != RunRequest.State.COMPLETED:
                raise Refused("demo.incomplete", f"{ended} did not complete. {ended.message}")

    def request(self, environment: str, flow: str, values: dict[str, str | int], by: Actor) -> RunRequest:
        key = uuid.uuid5(NAMESPACE, f"{environment} {flow} {sorted(values.items())}")
        if earlier := RunRequest.objects.filter(change__submission_key=key).first():
            return earlier
        deployment = names.deployment(environment, flow, by=by)
        return requests.submit(deployment, values, by=by, reason="Sample data of the demo", submission_key=key)
