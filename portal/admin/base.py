"""What every admin page shares: what the reader may see, and how a refusal is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin import SimpleListFilter
from django.db.models import Model, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from portal.auth.request_user import actor_of, permissions_of
from portal.ui import menu
from runs.errors import Refused
from runs.models import Verb

__all__ = ["RestrictedAdmin", "actor_of", "attempt", "permissions_of"]


def attempt(request: HttpRequest, subject: object, act: Callable[[], object], done: str) -> bool:
    """Do one act and say how it went; for actions on several rows and for buttons."""
    try:
        act()
    except Refused as refusal:
        messages.warning(request, f"{subject}: {refusal}", extra_tags=refusal.code)
        return False
    messages.success(request, f"{subject}: {done}")
    return True


def without_nul(query: QueryDict) -> QueryDict:
    """Postgres takes no NUL in a text, and nothing that is searched for has one."""
    cleaned = query.copy()
    for name, values in query.lists():
        cleaned.setlist(name, [str(value).replace("\0", "") for value in values])
    return cleaned


class RestrictedList(ChangeList):
    """A list that says "of so many" only where a search or filter left something out."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


class RestrictedAdmin(ModelAdmin):
    """A read-only admin whose every row goes through the reader's grants.

    `deployment_lookup` and `base_lookup` say how to reach the deployment and the environment from the model.
    """

    deployment_lookup = ""
    base_lookup = ""
    compressed_fields = True
    list_filter_submit = False
    list_per_page = 50
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RestrictedList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        request.GET = without_nul(request.GET)  # type: ignore[assignment]  # a copy may be changed, no more
        title = menu.title_of(self.model) or capfirst(self.opts.verbose_name_plural)
        response: HttpResponse = super().changelist_view(request, {"title": title, **(extra_context or {})})
        return response

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        return permissions_of(request).q(verb, deployment=self.deployment_lookup, base=self.base_lookup)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset: QuerySet[Any] = super().get_queryset(request)
        return queryset.filter(self.visible(request))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Only the filters may look: by a lookup in the address, a hidden default could be guessed letter by letter."""
        filters = self.get_list_filter(request)
        own = {each.parameter_name for each in filters if isinstance(each, type) and issubclass(each, SimpleListFilter)}
        fields = {each[0] if isinstance(each, tuple | list) else each for each in filters if not isinstance(each, type)}
        column = lookup.partition(LOOKUP_SEP)[0]
        is_column = column in {field.name for field in self.opts.get_fields()}
        return lookup in own or column in fields or not is_column

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_active and permissions_of(request).can_any(Verb.SEE))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_trigger_permission(self, request: HttpRequest) -> bool:
        return permissions_of(request).can_any(Verb.TRIGGER) or permissions_of(request).can_any(Verb.TRIGGER_LATER)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return permissions_of(request).can_any(Verb.CANCEL)

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return permissions_of(request).can_any(Verb.APPROVE)

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return permissions_of(request).can_any(Verb.PAUSE)

    def visible_or_404(self, request: HttpRequest, pk: Any) -> Any:
        """The row, or 404 when it is not there or may not be seen: the two must not be told apart."""
        try:
            found = self.get_queryset(request).filter(pk=pk).first()
        except (ValueError, TypeError) as error:
            raise Http404 from error
        if found is None:
            raise Http404
        return found

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        raise Http404
