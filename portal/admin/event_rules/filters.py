"""Filters of the log of event rules."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest

from portal.auth.request_user import actor_of
from portal.lists import filters
from portal.lists.filters import Choices
from runs.automation import event_rules
from runs.models import RuleFiring


class OutcomeFilter(filters.OfferedFilter):
    title, parameter_name = "outcome", "outcome"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return RuleFiring.Outcome.choices

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(outcome__in=values)


class RuleFilter(filters.OfferedFilter):
    title, parameter_name = "rule", "rule"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        rows = event_rules.visible_to(actor_of(request)).order_by("name", "pk")
        return [(str(rule.pk), rule.name) for rule in rows[: filters.MOST_CHOICES]]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(rule__in=values)
