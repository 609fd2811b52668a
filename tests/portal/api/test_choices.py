"""Choices that the API and its client spell out, because of names or imports, are those of the models."""

from __future__ import annotations

from typing import get_args

from portal.api.drift_routes import Difference
from portal.api.notification_rule_routes import NotificationTopic
from portal.client.drift_commands import KINDS
from runs.models import Drift
from runs.notifications.notification_rules import CHOOSABLE


def test_the_kinds_of_drift_are_those_of_its_rows() -> None:
    assert set(get_args(Difference)) == set(Drift.Kind.values)
    assert set(KINDS) == set(Drift.Kind.values)


def test_the_topics_of_a_rule_are_those_that_can_be_chosen() -> None:
    assert set(get_args(NotificationTopic)) == set(CHOOSABLE)
