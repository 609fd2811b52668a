"""Several clocks at once, on real connections with real commits: each start is requested once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment
from runs.automation import schedule_clock
from runs.models import RunRequest, Schedule
from tests.cast import FAKES, SCHEMA, make_environment, person
from tests.fakes.prefect import FakePrefect
from tests.made_schedules import let_schedule, schedule_of
from tests.runs.audit.test_concurrent_writes import at_once
from tests.runs.conftest import Later


@pytest.mark.usefixtures("own_database")
def test_each_start_is_requested_once(later: Later) -> None:
    dev = make_environment("dev")
    fake = FAKES.setdefault(dev.server.api_url, FakePrefect())
    fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA)
    sync.sync(dev)
    deployment = Deployment.objects.select_related("environment").get()
    owner = person("owner", "Operator")
    let_schedule(owner, deployment)
    made = [schedule_of(deployment, owner, name=f"schedule {number}") for number in range(4)]
    later(timedelta(hours=1))
    assert at_once(schedule_clock.tick) == []
    # What one clock had locked the others skipped, and nothing is left.
    schedule_clock.tick()
    assert RunRequest.objects.count() == len(made)
    assert not Schedule.objects.filter(next_due__lte=timezone.now()).exists()
