"""The chain of the demo fits the bundled pipelines: every step exists, and has the month as its only required value."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from prefect.utilities.callables import parameter_schema

from flows.crm.acquisition import crm_data_acquisition
from flows.crm.drift_monitoring import model_drift_monitoring
from flows.crm.ingestion import crm_data_ingestion
from flows.crm.reference import reference_data_creation
from flows.crm.training import monthly_win_probability_training
from flows.models import Environment
from portal.management.commands import demo_story
from portal.management.commands.demo_story import Command
from runs.automation import chains
from runs.models import Chain
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.made_chains import deploy, go_on, where

PIPELINES: tuple[Any, ...] = (
    crm_data_acquisition,
    crm_data_ingestion,
    monthly_win_probability_training,
    reference_data_creation,
    model_drift_monitoring,
)


@pytest.mark.django_db
def test_the_chain_of_the_demo_can_be_saved_and_started(dev: Environment, fake: FakePrefect) -> None:
    for flow in PIPELINES:
        schema = parameter_schema(flow.fn).model_dump()
        fake.add_deployment(flow_name=flow.name, name=flow.name, parameter_schema=schema)
    deploy(dev, fake)
    otto = person(demo_story.OPERATOR, "Operator")
    for _ in range(2):
        Command().save_chain("dev", by(otto))
    chain = Chain.objects.get()
    assert (chain.number, chain.valid_until > timezone.now() + timedelta(days=300)) == (1, True)
    change = chains.request_run(chain, {}, by=by(otto))
    go_on()
    assert where(change)["acquire"] == "running"
