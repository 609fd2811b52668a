"""The audit trail: read, searched, verified and exported; never changed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.text import Truncator
from django.views.decorators.http import require_POST
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter

from flows.models import Environment, Verb
from portal import exports
from portal.admin.base import RestrictedAdmin, actor
from runs import audit
from runs.actors import Channel
from runs.models import AuditEntry
from runs.models.audit import VERBS

# About five seconds; longer trails are walked whole by `manage.py verify_audit`.
VERIFIED_HERE = 50_000
# What an entry's own page walks before it says that the chain is sound up to there.
VERIFIED_BEFORE_AN_ENTRY = 500
NO_VALUE = object()
# subject kind -> the model whose page shows it
SUBJECTS = {
    "deployment": "flows.Deployment",
    "environment": "flows.Environment",
    "alias": "flows.Alias",
    "grant": "flows.Grant",
    "run": "runs.Run",
    "runrequest": "runs.RunRequest",
    "person": "auth.User",
    "user": "auth.User",
    "group": "auth.Group",
}
# Everything the digest is taken of, so that a copy can be verified without the portal.
COLUMNS: exports.Columns = {
    name: lambda entry, name=name: getattr(entry, name)
    for name in [field.attname for field in AuditEntry._meta.concrete_fields]
} | {"at": lambda entry: entry.at.astimezone(UTC)}


class ColumnFilter(DropdownFilter):
    """A menu of what may stand in one column."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else queryset


class ActorFilter(ColumnFilter):
    title, parameter_name = "actor", "actor_name"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [(name, name) for name in actor_names()]


class VerbFilter(ColumnFilter):
    title, parameter_name = "what was done", "verb"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return VERBS.items()


class EnvironmentFilter(ColumnFilter):
    title, parameter_name = "environment", "environment"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [(slug, slug) for slug in Environment.objects.values_list("slug", flat=True)]


class OutcomeFilter(ColumnFilter):
    title, parameter_name = "outcome", "outcome"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return AuditEntry.Outcome.choices


class ChannelFilter(ColumnFilter):
    title, parameter_name = "channel", "channel"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [(channel.value, channel.value) for channel in Channel]


class DaysFilter(RangeDateFilter):
    """Whole days in the portal's time zone, both ends included; the theme's own leaves out the last day."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        first, last = (day(self.used_parameters.get(f"{self.parameter_name}_{end}")) for end in ("from", "to"))
        if first:
            queryset = queryset.filter(at__gte=midnight(first))
        if last:
            queryset = queryset.filter(at__lt=midnight(last + timedelta(days=1)))
        return queryset


def day(text: object) -> date | None:
    try:
        return parse_date(str(text or ""))
    except ValueError:
        return None


def midnight(on: date) -> datetime:
    return timezone.make_aware(datetime.combine(on, time.min))


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


@admin.register(AuditEntry)
class AuditEntryAdmin(RestrictedAdmin):
    list_display = ["when", "actor_name", "what", "subject", "environment", "why", "result", "whence"]
    list_display_links = ["when"]
    list_filter = [
        ("at", DaysFilter),
        *(ActorFilter, VerbFilter, EnvironmentFilter, OutcomeFilter, ChannelFilter),
    ]
    list_filter_submit = True
    list_filter_sheet = True
    search_fields = ["actor_name", "subject_name", "reason", "message", "address", "=subject_id", "=digest"]
    search_help_text = "Actor, subject, reason, message, address, or a whole digest"
    ordering = ["-sequence"]
    sortable_by: list[str] = []
    show_facets = admin.ShowFacets.NEVER  # a count for every actor, over the whole trail
    list_before_template = "portal/audit/_tools.html"
    actions = None

    # Who may read it: whoever holds the permission; grants are about deployments and say nothing here.

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        return Q()

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("runs.view_auditentry")

    # The list

    @admin.display(description="Time", ordering="at")
    def when(self, entry: AuditEntry) -> str:
        shown = date_format(timezone.localtime(entry.at), "j M Y, H:i:s")
        return format_html('<span class="portal-number portal-audit-when">{}</span>', shown)

    @admin.display(description="What was done")
    def what(self, entry: AuditEntry) -> str:
        return entry.verb_label

    @admin.display(description="Subject")
    def subject(self, entry: AuditEntry) -> str:
        href = getattr(entry, "href", "")
        name = Truncator(entry.subject_name or entry.subject_kind).chars(70)
        return format_html('<a class="portal-link" href="{}">{}</a>', href, name) if href else name

    @admin.display(description="Reason")
    def why(self, entry: AuditEntry) -> str:
        reason, message = Truncator(entry.reason).chars(90), Truncator(entry.message).chars(140)
        return format_html('{}<div class="portal-faint portal-small">{}</div>', reason, message) if message else reason

    @admin.display(description="Outcome")
    def result(self, entry: AuditEntry) -> str:
        return format_html(
            '<span class="portal-badge" data-tone="{}">{}</span>', entry.outcome_colour, entry.get_outcome_display()
        )

    @admin.display(description="From")
    def whence(self, entry: AuditEntry) -> str:
        return ", ".join(filter(None, [entry.channel, entry.address]))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        link_subjects(changelist.result_list)
        return changelist

    # One entry

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        entry: AuditEntry = self.visible_or_404(request, object_id)
        link_subjects([entry])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Entry {entry.sequence}",
            "entry": entry,
            "entry_facts": facts(entry),
            "changes": list(changes(entry.before, entry.after)),
            "verification": audit.verify(up_to=entry.sequence, at_most=VERIFIED_BEFORE_AN_ENTRY),
            "earlier": neighbour(entry.sequence - 1),
            "later": neighbour(entry.sequence + 1),
        }
        return TemplateResponse(request, "portal/audit/entry.html", context)

    # What can be done with it

    def get_urls(self) -> list[URLPattern]:
        views = {"verify": self.verify, "export": self.export}
        own = [
            path(f"{name}/", self.admin_site.admin_view(require_POST(view)), name=f"runs_auditentry_{name}")
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def verify(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        with audit.act("audit.verify", None, by=actor(request), subject_kind="audit") as act:
            verification = audit.verify(at_most=VERIFIED_HERE)
            act.subject_name = f"entries {verification.first} to {verification.last}"
            act.after = {"head": verification.head, "broken": verification.broken}
        if verification:
            messages.success(request, sound(verification))
        else:
            messages.error(request, f"The chain is broken after entry {verification.last}: {verification.broken}")
        return HttpResponseRedirect(reverse("admin:runs_auditentry_changelist"))

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """The list as it is filtered, in a file; up to the newest entry there is when it was asked for."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        file_format = request.POST.get("format", "")
        if file_format not in exports.FORMATS:
            raise Http404
        entries = super().get_changelist_instance(request).get_queryset(request)
        newest = entries.order_by("-sequence").values_list("sequence", flat=True).first() or 0
        with audit.act("audit.export", None, by=actor(request), subject_kind="audit") as act:
            act.subject_name = f"up to entry {newest}, as {file_format}"
            act.after = {"format": file_format, "filters": dict(request.GET.lists()), "entries": entries.count()}
        return exports.stream(
            entries.filter(sequence__lte=newest), COLUMNS, file_format=file_format, name=f"audit-{newest}"
        )


def sound(verification: audit.Verification) -> str:
    older = "" if verification.first == 1 else " Older ones are verified by “manage.py verify_audit”."
    return (
        f"{verification.entries:,} entries verified, from {verification.first} to {verification.last}: unbroken. "
        f"Head: {verification.head}{older}"
    )


def neighbour(sequence: int) -> AuditEntry | None:
    return AuditEntry.objects.filter(sequence=sequence).first()


def link_subjects(entries: Iterable[AuditEntry]) -> None:
    """Give each entry whose subject still exists the address of its page; one query for each kind."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.subject_id.isdecimal():
            wanted[entry.subject_kind].add(entry.subject_id)
    there = {(kind, pk) for kind, pks in wanted.items() for pk in existing(kind, pks)}
    for entry in entries:
        if (entry.subject_kind, entry.subject_id) in there:
            entry.href = address(entry.subject_kind, entry.subject_id)  # type: ignore[attr-defined]  # for this page


def existing(kind: str, pks: set[str]) -> list[str]:
    if kind not in SUBJECTS:
        return []
    model = apps.get_model(SUBJECTS[kind])
    return [str(pk) for pk in model._default_manager.filter(pk__in=pks).values_list("pk", flat=True)]


def address(kind: str, pk: str) -> str:
    try:
        return reverse(f"admin:{SUBJECTS[kind].lower().replace('.', '_')}_change", args=[pk])
    except NoReverseMatch:
        return ""


@dataclass(frozen=True, slots=True)
class Change:
    """One value before and after; `tone` is green for new, red for gone, amber for changed, grey for kept."""

    path: str
    before: str
    after: str
    tone: str


def changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    """What differs, value by value, in the order of the paths."""
    old, new = dict(leaves(before)), dict(leaves(after))
    for name in sorted({*old, *new}):
        was, is_now = old.get(name, NO_VALUE), new.get(name, NO_VALUE)
        if was is NO_VALUE:
            yield Change(name, "", shown(is_now), "green")
        elif is_now is NO_VALUE:
            yield Change(name, shown(was), "", "red")
        else:
            yield Change(name, shown(was), shown(is_now), "grey" if was == is_now else "amber")


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and their values; a list is one value, for its order matters."""
    if isinstance(value, dict) and (value or not at):
        for key, each in value.items():
            yield from leaves(each, f"{at}.{key}" if at else key)
    else:
        yield at, value


def shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def facts(entry: AuditEntry) -> list[tuple[str, str]]:
    """Everything the entry says in words, without what is empty."""
    rows = [
        ("Time", date_format(timezone.localtime(entry.at), "j F Y, H:i:s.u e")),
        ("Actor", f"{entry.actor_name} ({entry.actor_kind})"),
        ("Environment", entry.environment),
        ("Reason", entry.reason),
        ("Message", entry.message),
        ("Channel", entry.channel),
        ("Token", entry.token_id),
        ("Address", entry.address),
        ("Program", entry.user_agent),
    ]
    return [(name, value) for name, value in rows if value]
