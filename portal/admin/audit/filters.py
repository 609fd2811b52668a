"""The filters of the audit trail. `runs.audit.queries` has their conditions, which exports use too."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from flows.models import Environment
from portal.lists import filters
from portal.lists.filters import ChoiceFilter, Choices, ChoicesFilter
from portal.ui.audit_links import SUBJECTS
from runs.actors import Channel
from runs.audit import queries
from runs.models import AuditEntry
from runs.models.audit_verbs import VERBS

# How long the list of actors is cached: reading it takes an index lookup for each of them.
MENU_SECONDS = 60


class CriterionFilter(ChoiceFilter):
    """A filter whose condition is in `queries.CRITERIA` under its parameter name."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(queries.CRITERIA[self.parameter_name](value)) if (value := self.value()) else queryset


class ActorFilter(CriterionFilter):
    title, parameter_name = "actor", "actor_name"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        # A new actor can be chosen within a minute; their entries are listed immediately.
        names: list[str] = cache.get_or_set("audit-actors", actor_names, MENU_SECONDS) or []
        return [(name, name) for name in names]


class VerbFilter(ChoicesFilter):
    title, parameter_name = "action", "verb"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return sorted(VERBS.items(), key=itemgetter(1))

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return queries.verbs(",".join(values))


class SignInFilter(CriterionFilter):
    """Whether entries about who signed in and out are in the list."""

    title, parameter_name, every = "sign-ins", "sign_ins", "Shown"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(queries.HIDDEN, "Hidden")]


class EnvironmentFilter(CriterionFilter):
    title, parameter_name = "environment", "environment"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(slug, slug) for slug in Environment.objects.values_list("slug", flat=True)]


class OutcomeFilter(CriterionFilter):
    title, parameter_name = "outcome", "outcome"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return AuditEntry.Outcome.choices


class ChannelFilter(CriterionFilter):
    title, parameter_name, is_rare = "channel", "channel", True

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Choices:
        return [(channel.value, channel.value) for channel in Channel]


class GivenFilter(filters.GivenFilter, CriterionFilter):
    """A criterion set by links from other pages."""


class SubjectFilter(GivenFilter):
    """`subject=run:12`, or several separated by commas."""

    title, parameter_name = "subject", "subject"

    def label_of(self, given: str) -> str:
        kind, _, pk = given.partition(",")[0].partition(":")
        # The subject may have been deleted: then its key is the label.
        row = apps.get_model(SUBJECTS[kind])._default_manager.filter(pk=pk).first() if is_key(kind, pk) else None
        return str(row or given)


class PersonFilter(GivenFilter):
    """`person=3`: what they did, and what was done to their account."""

    title, parameter_name = "user", "person"

    def label_of(self, given: str) -> str:
        row = User.objects.filter(pk=given).first() if is_key("person", given) else None
        return str(row or given)


class TokenFilter(GivenFilter):
    """`token=KEY`: what was done with a token."""

    title, parameter_name = "token", "token"


class LoosenedFilter(GivenFilter):
    """`loosened=prod`: what loosened the rules of an environment."""

    title, parameter_name = "rules loosened", "loosened"


def is_key(kind: str, pk: str) -> bool:
    """Whether the text can be a primary key of this kind: an ASCII number that fits into a bigint."""
    return kind in SUBJECTS and pk.isdecimal() and pk.isascii() and len(pk) < 18


class DaysFilter(filters.DaysFilter):
    title, parameter_name = "date", "at"

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        # An export reads the same criteria.
        for name, given in zip(self.expected_parameters(), self.given(), strict=True):
            queryset = queryset.filter(queries.CRITERIA[name](given))
        return queryset


def actor_names() -> list[str]:
    """Return the names of all actors, at most 500."""
    # A loose index scan: each step jumps to the next name in the index. SELECT DISTINCT would read millions of rows to
    # find a few names.
    table, column = (connection.ops.quote_name(name) for name in (AuditEntry._meta.db_table, "actor_name"))
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE hop AS (SELECT min({column}) AS name FROM {table} UNION ALL "
            f"SELECT (SELECT min({column}) FROM {table} WHERE {column} > hop.name) FROM hop WHERE hop.name IS NOT NULL)"
            "SELECT name FROM hop WHERE name IS NOT NULL LIMIT 500"
        )
        return [name for (name,) in cursor.fetchall()]


FILTERS: list[Any] = [
    DaysFilter,
    *(
        ActorFilter,
        VerbFilter,
        SignInFilter,
        EnvironmentFilter,
        OutcomeFilter,
        ChannelFilter,
        SubjectFilter,
        PersonFilter,
    ),
    *(TokenFilter, LoosenedFilter),
]
