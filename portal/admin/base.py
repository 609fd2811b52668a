"""The base of every admin class: rows restricted by grants, and refusals reported as messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin import display
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import ActionLocation, IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin, checkbox

from portal.admin.changes import waiting
from portal.auth.request_user import actor_of, permissions_of
from portal.lists import csv_export
from portal.lists.change_list import CappedPaginator, RestrictedList
from portal.lists.filters import RowFilter
from portal.ui import menu
from runs.audit.lines import Columns
from runs.errors import Refused
from runs.models import ChangeRequest, Verb

__all__ = ["RestrictedAdmin", "actor_of", "attempt", "permissions_of"]


def attempt(request: HttpRequest, subject: object, act: Callable[[], object], done: str) -> bool:
    """Call `act`, report the result with the subject's name, and return whether it succeeded.

    An act that returns a change request did not happen yet: it waits for an approval.
    """
    try:
        result = act()
    except Refused as refusal:
        messages.warning(request, f"{subject}: {refusal}", extra_tags=refusal.code)
        return False
    if isinstance(result, ChangeRequest):
        waiting.tell(request, result, about=str(subject))
        return True
    messages.success(request, f"{subject}: {done}")
    return True


@cache
def row_checkbox() -> str:
    """Return the theme's checkbox of a row, for `format_html`: the theme renders a template for each row."""
    return str(checkbox.render(ACTION_CHECKBOX_NAME, "{}"))


def without_nul(query: QueryDict) -> QueryDict:
    """Return the query without NUL characters."""
    # Postgres refuses NUL in a text parameter with an error, which would be a 500 for a search from a URL.
    cleaned = query.copy()
    for name, values in query.lists():
        cleaned.setlist(name, [str(value).replace("\0", "") for value in values])
    return cleaned


class RestrictedAdmin(ModelAdmin):
    """A read-only admin whose rows are restricted by the reader's grants.

    `deployment_lookup` and `base_lookup` are the lookup prefixes of the deployment and the environment. A subclass that
    shows rows by another rule overrides `visible`.
    """

    deployment_lookup = ""
    base_lookup = ""
    compressed_fields = True
    list_per_page = 50
    paginator = CappedPaginator
    show_full_result_count = False
    # Columns that are not shown unless somebody chooses them.
    hidden_columns: tuple[str, ...] = ()
    # Views that the list offers to all: name -> query string, in which {me} is the reader's user name.
    standard_views: ClassVar[Mapping[str, str]] = {}
    # What a download has of each row: heading -> function of the row. Without columns there is none.
    csv_columns: ClassVar[Columns] = {}

    @display(description=ModelAdmin.action_checkbox.short_description)
    def action_checkbox(self, obj: Model) -> SafeString:
        return format_html(row_checkbox(), obj.pk)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RestrictedList]:
        return RestrictedList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        request.GET = without_nul(request.GET)  # type: ignore[assignment]  # a copy may be changed, no more
        self.refuse_hidden_action(request, ActionLocation.CHANGE_LIST, "action")
        title = menu.title_of(self.model) or capfirst(self.opts.verbose_name_plural)
        response: HttpResponse = super().changelist_view(request, {"title": title, **(extra_context or {})})
        return response

    def get_urls(self) -> list[URLPattern | URLResolver]:
        urls: list[URLPattern | URLResolver] = super().get_urls()
        if not self.csv_columns:
            return urls
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        # First: Django's own routes end with a catch-all, `<path:object_id>/`.
        return [path("export.csv", self.admin_site.admin_view(require_POST(self.export_csv)), name=name), *urls]

    def export_csv(self, request: HttpRequest) -> HttpResponseBase:
        """Return the rows that the list shows with these filters as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.GET = without_nul(request.GET)  # type: ignore[assignment]  # a copy may be changed, no more
        try:
            changelist = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return redirect(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return csv_export.download(request, changelist, self.csv_columns)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        self.refuse_hidden_action(request, ActionLocation.CHANGE_FORM, "CHANGE_FORM-action")
        return super().changeform_view(request, object_id, form_url, extra_context)

    def refuse_hidden_action(self, request: HttpRequest, location: ActionLocation, field: str) -> None:
        """Raise `PermissionDenied` for an action that is not offered to this user.

        Django would redirect without a word, and the attempt would not be in the audit trail.
        """
        wanted = {*request.POST.getlist(field)} & {*(self.actions or ())}
        if wanted and not wanted <= {*self.get_actions(request, action_location=location)}:
            raise PermissionDenied(f"{request.user.get_username()} does not have permission for this.")

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        """Return the condition for the rows on which the reader holds `verb`."""
        return permissions_of(request).q(verb, deployment=self.deployment_lookup, base=self.base_lookup)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Lists, counts, searches, actions and pages of one row all start here: this is the only filter they need.
        queryset: QuerySet[Any] = super().get_queryset(request)
        return queryset.filter(self.visible(request))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Allow only the lookups of filters."""
        # Django allows any local column in the URL: `?parameters__startswith=` would reveal hidden values by guessing.
        filters = self.get_list_filter(request)
        own = {
            name
            for each in filters
            if isinstance(each, type) and issubclass(each, RowFilter)
            for name in each.parameters()
        }
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

    def visible_or_404(self, request: HttpRequest, pk: Any, rows: QuerySet[Any] | None = None) -> Any:
        """Return the row; raise `Http404` both for a missing and for a hidden one, which must look the same.

        `rows` are those of `get_queryset`, with what the page reads beside them.
        """
        try:
            # Keys come from URLs and forms, so they may be no number at all.
            found = (self.get_queryset(request) if rows is None else rows).filter(pk=pk).first()
        except (ValueError, TypeError) as error:
            raise Http404 from error
        if found is None:
            raise Http404
        return found

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        # Django would redirect to the index with a message that names the model and the key.
        raise Http404
