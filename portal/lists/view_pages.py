"""The addresses that save and delete a view of a list."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_POST

from portal.auth.request_user import actor_of
from portal.lists import saved_views
from portal.models import SavedView
from portal.ui.run_links import list_url
from runs.errors import Refused


def address_of(request: HttpRequest, list_label: str) -> str:
    """Return the address of a list; raises `Http404` for one that does not exist or that the reader does not see."""
    try:
        model = apps.get_model(list_label)
        options = admin.site.get_model_admin(model)
    except (LookupError, ValueError, admin.sites.NotRegistered) as error:  # type: ignore[attr-defined]  # Django's own
        raise Http404 from error
    if not options.has_view_permission(request):
        raise Http404
    return list_url(model._meta.label_lower.replace(".", "_"))


@require_POST
def save(request: HttpRequest) -> HttpResponse:
    """Save the filters in `query` as a view, and return to the list with them."""
    label, query = request.POST.get("list", ""), request.POST.get("query", "")
    address = address_of(request, label)
    try:
        view = saved_views.save(
            label, request.POST.get("name", ""), query, is_shared=bool(request.POST.get("shared")), by=actor_of(request)
        )
    except Refused as refusal:
        messages.warning(request, refusal.message, extra_tags=refusal.code)
        return HttpResponseRedirect(f"{address}?{saved_views.clean(query)}")
    messages.success(request, f"View “{view}” saved.")
    return HttpResponseRedirect(f"{address}?{view.query}")


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    view = SavedView.objects.filter(pk=pk).first()
    if view is None or view not in saved_views.visible_to(actor_of(request), view.list):
        raise Http404
    address = address_of(request, view.list)
    try:
        saved_views.delete(view, by=actor_of(request))
    except Refused as refusal:
        messages.warning(request, refusal.message, extra_tags=refusal.code)
    else:
        messages.success(request, f"View “{view}” deleted.")
    return HttpResponseRedirect(address)
