"""The command of service levels."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs.actors import Actor
from runs.governance import grants
from runs.models import ServiceLevel
from tests.cast import person
from tests.portal.client.in_process import Commands

pytestmark = pytest.mark.django_db


def test_they_are_added_listed_and_removed(command: Commands, viewer: User, deployment: Deployment) -> None:
    manager = person("manager")
    grants.grant(by=Actor.system(), person=manager, verbs=["see", "manage"], environment=deployment.environment)
    words = ("levels", "add", "failing", "20", "-e", "dev", "--days", "7", "--tag", "crm")
    assert command(viewer, *words).code == 2
    assert "More than 20% failed in 7 d" in command(manager, *words).out
    number = str(ServiceLevel.objects.get().pk)
    assert "tag crm" in command(viewer, "levels", "list", "-e", "dev").out
    assert command(viewer, "levels", "breaches").code == 0
    assert command(manager, "levels", "remove", number).code == 0
    assert "no service levels" in command(viewer, "levels", "list").out
