"""The filters of the audit trail; what each lets through is said in `runs.audit.queries`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter

from flows.models import Environment
from portal.ui.audit_links import SUBJECTS
from runs.actors import Channel
from runs.audit import queries
from runs.models import AuditEntry
from runs.models.audit import VERBS

Choices = Iterable[tuple[str, str]]


class CriterionFilter(DropdownFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(queries.CRITERIA[self.parameter_name](self.value())) if self.value() else queryset


class ActorFilter(CriterionFilter):
    title, parameter_name = "actor", "actor_name"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(name, name) for name in actor_names()]


class VerbFilter(CriterionFilter):
    title, parameter_name = "action", "verb"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return VERBS.items()


class EnvironmentFilter(CriterionFilter):
    title, parameter_name = "environment", "environment"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(slug, slug) for slug in Environment.objects.values_list("slug", flat=True)]


class OutcomeFilter(CriterionFilter):
    title, parameter_name = "outcome", "outcome"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return AuditEntry.Outcome.choices


class ChannelFilter(CriterionFilter):
    title, parameter_name = "channel", "channel"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(channel.value, channel.value) for channel in Channel]


class GivenFilter(CriterionFilter):
    """One that other pages link to: it offers what the address says, and nothing to choose from."""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        given = request.GET.get(self.parameter_name, "")
        return [(given, self.called(given))] if given else []

    def called(self, given: str) -> str:
        return given


class SubjectFilter(GivenFilter):
    """`subject=run:12`, or several with commas between them."""

    title, parameter_name = "subject", "subject"

    def called(self, given: str) -> str:
        kind, _, pk = given.partition(",")[0].partition(":")
        row = apps.get_model(SUBJECTS[kind])._default_manager.filter(pk=pk).first() if known(kind, pk) else None
        return str(row or given)


class PersonFilter(GivenFilter):
    """`person=3`: what they did, and what was done to their account."""

    title, parameter_name = "user", "person"

    def called(self, given: str) -> str:
        row = User.objects.filter(pk=given).first() if known("person", given) else None
        return str(row or given)


def known(kind: str, pk: str) -> bool:
    return kind in SUBJECTS and pk.isdecimal() and pk.isascii() and len(pk) < 18


class DaysFilter(RangeDateFilter):
    """Whole days in the portal's time zone, both ends included; the theme's own leaves out the last day."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        for end in ("from", "to"):
            name = f"{self.parameter_name}_{end}"
            queryset = queryset.filter(queries.CRITERIA[name](str(self.used_parameters.get(name) or "")))
        return queryset


def actor_names() -> list[str]:
    """Every actor's name, by hopping along the index: the trail may have millions of rows and few actors."""
    table, column = (connection.ops.quote_name(name) for name in (AuditEntry._meta.db_table, "actor_name"))
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE hop AS (SELECT min({column}) AS name FROM {table} UNION ALL "
            f"SELECT (SELECT min({column}) FROM {table} WHERE {column} > hop.name) FROM hop WHERE hop.name IS NOT NULL)"
            "SELECT name FROM hop WHERE name IS NOT NULL LIMIT 500"
        )
        return [name for (name,) in cursor.fetchall()]


FILTERS: list[Any] = [
    ("at", DaysFilter),
    *(ActorFilter, VerbFilter, EnvironmentFilter, OutcomeFilter, ChannelFilter, SubjectFilter, PersonFilter),
]
