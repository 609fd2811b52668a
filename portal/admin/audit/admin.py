"""The audit trail: list, search, tamper check and exports. Entries are never changed."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.views.decorators.http import require_POST

from portal.admin.audit import downloads
from portal.admin.audit.filters import FILTERS
from portal.admin.base import RestrictedAdmin
from portal.admin.requests import account_changes
from portal.auth.request_user import actor_of
from portal.lists import search
from portal.lists.change_list import KeysetList
from portal.ops import database_checks
from portal.ui import loosened_rules, times
from portal.ui.audit_links import link_subjects
from portal.ui.diff import diff
from runs import audit
from runs.audit import export_files, lines, queries
from runs.models import AuditEntry, Export, Verb

# Entries checked by the button: about five seconds of work. `manage.py verify_audit` checks all of a longer trail.
VERIFIED_HERE = 200_000
# Requests that the button compares with their entries: another few seconds.
RECONCILED_HERE = 20_000
# Entries checked before each displayed one, on every view of its page.
VERIFIED_BEFORE_AN_ENTRY = 500
# Longer exports are written in the background, so that no request runs for minutes.
MADE_AT_ONCE = 50_000


@admin.register(AuditEntry)
class AuditEntryAdmin(RestrictedAdmin):
    list_display = ["when", "actor", "what", "subject", "environment", "why", "result", "whence"]
    list_display_links = ["when"]
    list_filter = FILTERS
    search_fields = queries.SEARCHED
    search_help_text = queries.HELP
    ordering = ["-sequence"]
    sortable_by: list[str] = []
    show_facets = admin.ShowFacets.NEVER  # they would count the whole trail once for each actor
    list_before_template = "portal/audit/_tools.html"
    standard_views: ClassVar[dict[str, str]] = {
        "Without sign-ins": "sign_ins=hidden",
        "Approvals": "verb=request.approve&verb=request.reject&verb=request.break_glass&verb=request.review",
        "Refused": "outcome=refused",
    }
    actions = None

    # Reading requires Django's `view_auditentry`. Grants do not apply: entries outlive the deployments they are about.

    def visible(self, request: HttpRequest, verb: Verb = Verb.SEE) -> Q:
        return Q()

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("runs.view_auditentry")

    # The list

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        problems = database_checks.problems() if self.has_view_permission(request) else []
        return super().changelist_view(request, {"problems": problems, **(extra_context or {})})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        # Exports use the same function, and it also finds actions by their labels, which are in no column.
        return queryset.filter(queries.search(search_term)), False

    @admin.display(description=times.in_zone("Time"))
    def when(self, entry: AuditEntry) -> str:
        shown = date_format(timezone.localtime(entry.at), "j M Y, H:i:s")
        return format_html('<span class="portal-number portal-audit-when">{}</span>', shown)

    @admin.display(description="Actor")
    def actor(self, entry: AuditEntry) -> str:
        return actor_label(entry)

    @admin.display(description="Action")
    def what(self, entry: AuditEntry) -> str:
        is_about_another = entry.subject_name not in ("", entry.actor_name)
        context = {
            "entry": entry,
            "is_about_another": is_about_another,
            "rule_changes": loosened_rules.changes_in_words(entry),
        }
        return render_to_string("portal/audit/_what.html", context)

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

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        # All subjects of the page at once; the column alone would need a query for each row.
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
            "changes": list(diff(entry.before, entry.after)),
            "account_changes": account_changes.changes_in_entry(entry),
            "verification": audit.verify(up_to=entry.sequence, at_most=VERIFIED_BEFORE_AN_ENTRY),
            "earlier": neighbour(entry.sequence - 1),
            "later": neighbour(entry.sequence + 1),
        }
        return TemplateResponse(request, "portal/audit/entry.html", context)

    # What can be done with it

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views = {
            "verify/": ("verify", require_POST(self.verify)),
            "export/": ("export", require_POST(self.export)),
            "exports/": ("exports", self.exports),
            "exports/<int:pk>/download/": ("download", require_POST(self.download)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_auditentry_{name}")
            for route, (name, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    def verify(self, request: HttpRequest) -> HttpResponse:
        """Check the newest entries for tampering, and record the check with its result."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        with audit.act("audit.verify", None, by=actor_of(request), subject_kind="audit") as act:
            verification = audit.verify(at_most=VERIFIED_HERE)
            act.subject_name = f"entries {verification.first} to {verification.last}"
            difference = audit.reconcile(at_most=RECONCILED_HERE) if verification else ""
            act.after = {"head": verification.head, "broken": verification.broken or difference}
        if difference:
            messages.error(
                request, f"The entries are intact, but tampering was detected: {difference}", "audit.differs"
            )
        elif verification:
            messages.success(request, describe_intact(verification), extra_tags="audit.intact")
        else:
            messages.error(
                request, f"Tampering detected after entry {verification.last}: {verification.broken}", "audit.broken"
            )
        return HttpResponseRedirect(reverse("admin:runs_auditentry_changelist"))

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """Download the filtered list as CSV or JSON Lines, or start a background export if it is long."""
        # 1. Fix the last entry: the trail grows while the file is written.
        if not self.has_view_permission(request):
            raise PermissionDenied
        file_format = request.POST.get("format", "")
        if file_format not in lines.FORMATS:
            raise Http404
        criteria = queries.selected(dict(request.GET.lists()))
        try:
            search.check(criteria.get("q", ""))
        except ValidationError as error:
            messages.warning(request, error.message, extra_tags=str(error.code))
            return HttpResponseRedirect(reverse("admin:runs_auditentry_changelist"))
        entries = queries.entries(criteria)
        newest = entries.order_by("-sequence").values_list("sequence", flat=True).first() or 0
        total = entries.count()
        # 2. Long: a background task writes it, and the page of exports shows its progress.
        if total > MADE_AT_ONCE:
            export_files.request_export(
                criteria, file_format=file_format, up_to=newest, total=total, by=actor_of(request)
            )
            messages.success(request, f"Export of {total:,} entries started. Download it here when it is ready.")
            return HttpResponseRedirect(reverse("admin:runs_auditentry_exports"))
        # 3. Short: recorded before the first byte, because a client may hang up at any time.
        with audit.act("audit.export", None, by=actor_of(request), subject_kind="audit") as act:
            act.subject_name = f"up to entry {newest}, as {file_format}"
            act.after = {"format": file_format, "filters": criteria, "entries": total}
        return downloads.stream(
            entries.filter(sequence__lte=newest), lines.COLUMNS, file_format=file_format, name=f"audit-{newest}"
        )

    def exports(self, request: HttpRequest) -> HttpResponse:
        """Show the reader's own exports."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Exports of the audit trail",
            "exports": Export.objects.filter(requested_by=request.user.pk),
            "days": export_files.KEPT_FOR.days,
            "made_at_once": MADE_AT_ONCE,
        }
        return TemplateResponse(request, "portal/audit/exports.html", context)

    def download(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        # The export of someone else and a missing one look the same.
        found = Export.objects.filter(pk=pk, requested_by=request.user.pk, state=Export.State.READY).first()
        if found is None:
            raise Http404
        export_files.note_download(found, by=actor_of(request))
        return downloads.send(found)


def describe_intact(verification: audit.Verification) -> str:
    is_whole = verification.first == verification.retired + 1
    older = "" if is_whole else " To check older entries, run “manage.py verify_audit”."
    return (
        f"{verification.entries:,} entries checked, {verification.first} to {verification.last}: intact. "
        f"Fingerprint of the last entry: {verification.head}{older}"
    )


def neighbour(sequence: int) -> AuditEntry | None:
    # None at both ends of the trail, and beside entries that were retired.
    return AuditEntry.objects.filter(sequence=sequence).first()


def actor_label(entry: AuditEntry) -> SafeString:
    """Return who acted, such as “ci-robot by token KEY”; call `link_subjects` before."""
    return render_to_string("portal/audit/_actor.html", {"entry": entry})


def facts(entry: AuditEntry) -> list[tuple[str, str]]:
    """Return the filled fields of an entry with their labels."""
    rows = [
        ("Time", date_format(timezone.localtime(entry.at), "j F Y, H:i:s.u e")),
        ("Actor", format_html("{} ({})", actor_label(entry), entry.actor_kind)),
        ("On behalf of", entry.on_behalf_of),
        ("Environment", entry.environment),
        ("Rules changed", "\n".join(loosened_rules.changes_in_words(entry))),
        ("Reason", entry.reason),
        ("Ticket", entry.ticket),
        ("Message", entry.message),
        ("Channel", entry.channel),
        ("Address", entry.address),
        ("User agent", entry.user_agent),
    ]
    return [(name, value) for name, value in rows if value]
