"""Filters of the list of failures."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest

from portal.admin.runs.filters import DeploymentFilter
from portal.lists.filters import Choices, ChoicesFilter, DaysFilter, TextFilter, text_of
from runs import failures
from runs.models import FailureGroup


class FailureStateFilter(ChoicesFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("open", "Open"), *((str(value), str(label)) for value, label in FailureGroup.State.choices)]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return failures.in_shown_states(values)


class FailedDeploymentFilter(DeploymentFilter):
    column = "what"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        name = text_of(values)
        return Q(what=name) if "/" in name else Q(what__icontains=name)


class OwnerFilter(TextFilter):
    title = "owner"
    parameter_name = "owner"
    placeholder = "User name"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(owner__username=text_of(values))


class SeenFilter(DaysFilter):
    title = "last seen"
    parameter_name = "seen"
    column = "last_seen_at"
