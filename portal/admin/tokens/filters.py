"""The filters of the list of tokens."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from portal.auth.request_user import actor_of
from portal.lists.filters import ChoiceFilter, Choices
from portal.ui.token_labels import SOON
from runs.governance import tokens
from runs.governance.rule_changes import oversees
from runs.models import Token


class TokenFilter(ChoiceFilter):
    """A filter that ignores values it does not offer."""

    def conditions(self, request: HttpRequest) -> dict[str, Q]:
        """Return value -> condition; "" is the default."""
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Token]) -> QuerySet[Token]:
        found = self.conditions(request)
        return queryset.filter(found.get(self.value() or "", found.get("", Q())))


class StateFilter(TokenFilter):
    title = "state"
    parameter_name = "state"
    every = "Usable"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        names = {
            "soon": "Expires soon",
            "replaced": "Replaced, still valid",
            "expired": "Expired",
            "revoked": "Revoked",
            "disabled": "Account disabled",
            "all": "All",
        }
        return list(names.items())

    def conditions(self, request: HttpRequest) -> dict[str, Q]:
        # The same rules as `token_labels.state_badge`.
        now = timezone.now()
        is_enabled = Q(user__is_active=True) & (
            Q(user__service_account=None) | Q(user__service_account__owner__is_active=True)
        )
        of_owner = Q(job_trust__created_by=F("user__service_account__owner"), job_trust__revoked_at=None)
        is_enabled &= Q(job_trust=None) | (of_owner & ~Q(job_trust__digest=""))
        is_open = ~Q(digest="") & (Q(revoked_at=None) | Q(revoked_at__gt=now))
        usable = tokens.active() & is_enabled
        return {
            # Old ones are kept for the record and outnumber the usable ones in time.
            "": usable,
            "soon": usable & Q(job_trust=None, revoked_at=None, expires_at__lte=now + SOON),
            "replaced": usable & Q(revoked_at__gt=now),
            "expired": is_open & Q(expires_at__lte=now),
            "revoked": Q(digest="") | Q(revoked_at__lte=now),
            "disabled": tokens.active() & ~is_enabled,
            "all": Q(),
        }


class AccountFilter(TokenFilter):
    title = "account"
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        names = {"mine": "Mine", "service": "Service accounts"}
        return list((names | ({"others": "Other users"} if oversees(actor_of(request)) else {})).items())

    def conditions(self, request: HttpRequest) -> dict[str, Q]:
        mine = Q(user=request.user.pk)
        return {
            "mine": mine,
            "service": Q(user__service_account__isnull=False),
            "others": Q(user__service_account=None) & ~mine,
        }


class UnusedFilter(TokenFilter):
    title = "unused for"
    parameter_name = "unused"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("30", "30 days"), ("90", "90 days")]

    def conditions(self, request: HttpRequest) -> dict[str, Q]:
        return {days: tokens.unused_for(int(days)) for days in ("30", "90")}
