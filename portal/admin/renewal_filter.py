"""The filter of lists of automation by what needs attention: the same rows that the overview counts."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model, Q
from django.http import HttpRequest

from portal.lists.filters import Choices, OfferedFilter
from runs.automation.renewals import CONDITIONS, Need
from runs.models import Chain, EventRule, Hook, Schedule


class RenewalFilter(OfferedFilter):
    title, parameter_name = "renewal", "needs"
    model: ClassVar[type[Model]]

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return Need.choices

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return CONDITIONS[cls.model](Need(values[-1])) if values[-1] in Need.values else Q()


class ScheduleRenewalFilter(RenewalFilter):
    model = Schedule


class HookRenewalFilter(RenewalFilter):
    model = Hook


class RuleRenewalFilter(RenewalFilter):
    model = EventRule


class ChainRenewalFilter(RenewalFilter):
    model = Chain
