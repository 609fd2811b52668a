"""Inbound hooks: the list, a new one, and their pages. A secret is shown once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Max, Model, QuerySet
from django.forms import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST

from portal.admin import double_submit
from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.hooks import page
from portal.admin.hooks.forms import HookForm, NewHookForm
from portal.admin.renewal_filter import HookRenewalFilter
from portal.auth.request_user import actor_of
from portal.ui import hook_labels, times
from portal.ui.text import number
from runs.actors import Actor
from runs.automation import hooks
from runs.automation.hooks import NewSecret
from runs.errors import Refused
from runs.models import Hook, HookSecret


@admin.register(Hook)
class HookAdmin(RestrictedAdmin):
    list_display = ["named", "deployment_shown", "account_shown", "kind", "last_delivery", "state", "ends"]
    list_filter = [HookRenewalFilter]
    list_before_template = "portal/hook/_tools.html"
    search_fields = ["name", "key", "deployment__full_name", "account__user__username"]
    search_help_text = "Name, key, deployment or account"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Hook]:
        return hooks.visible_to(actor_of(request)).annotate(last_received_at=Max("deliveries__received_at"))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let every active user in: who owns no service account finds an empty list."""
        return bool(request.user.is_active)

    # The list

    @admin.display(description="name", ordering="name")
    def named(self, hook: Hook) -> SafeString:
        return render_to_string("portal/hook/_name.html", {"hook": hook})

    @admin.display(description="deployment", ordering="deployment__full_name")
    def deployment_shown(self, hook: Hook) -> SafeString:
        return render_to_string("portal/hook/_deployment.html", {"hook": hook})

    @admin.display(description="account", ordering="account__user__username")
    def account_shown(self, hook: Hook) -> str:
        return f"{hook.account} of {hook.account.owner}"

    @admin.display(description="last delivery", ordering="last_received_at")
    def last_delivery(self, hook: Any) -> SafeString | str:
        return times.relative_time(hook.last_received_at) if hook.last_received_at else "never"

    @admin.display(description="state")
    def state(self, hook: Hook) -> SafeString:
        return render_to_string("portal/_state.html", {"row": hook_labels.state_badge(hook)})

    @admin.display(description="ends", ordering="valid_until")
    def ends(self, hook: Hook) -> str:
        return times.day(hook.valid_until)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        forms = require_http_methods(["GET", "HEAD", "POST"])
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "new": ("new/", forms(self.new)),
            "edit": ("<int:pk>/edit/", forms(self.edit)),
            "enable": ("<int:pk>/enable/", require_POST(self.enable)),
            "disable": ("<int:pk>/disable/", require_POST(self.disable)),
            "add_secret": ("<int:pk>/add-secret/", require_POST(self.add_secret)),
            "remove_secret": ("<int:pk>/remove-secret/", require_POST(self.remove_secret)),
            "replace_secrets": ("<int:pk>/replace-secrets/", require_POST(self.replace_secrets)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_hook_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    # A new one

    def new(self, request: HttpRequest) -> HttpResponse:
        """Show the form; on POST create the hook and show its secret, which no other page can do."""
        data = request.POST if request.method == "POST" else None
        form = NewHookForm(actor_of(request), data, initial=request.GET.dict())
        if data is not None and form.is_valid() and (new := self.create(request, form)):
            return self.show_secret(request, new, "Hook created")
        return self.show_form(request, form, None)

    def create(self, request: HttpRequest, form: NewHookForm) -> NewSecret | None:
        """Create the hook; None if it is refused, which the form then shows."""
        values = form.cleaned_data
        with transaction.atomic():
            # A second click, or a reload of the page with the secret, waits here and then finds the hook of the first.
            User.objects.select_for_update(no_key=True).get(pk=actor_of(request).user.pk)
            if form.is_repeated():
                message = (
                    "A hook of this name was created after this page was opened, so the form was probably sent twice. "
                    "Its secret cannot be shown again. Submit the form once more to create another hook."
                )
                form.add_error("name", ValidationError(message, "hook.repeated"))
                return None
            try:
                return hooks.create(
                    values["account"],
                    by=actor_of(request),
                    kind=values["kind"],
                    deployment=values["deployment"],
                    **form.arguments(),
                )
            except Refused as refusal:
                form.refuse(refusal)
                return None

    def show_form(self, request: HttpRequest, form: HookForm, hook: Hook | None) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Change {hook.name}" if hook else "New hook",
            "opts": self.opts,
            "original": hook,
            "form": form,
            # Read now, also after a refusal: what is sent again then is meant.
            "newest_hook": form.newest_hook() if isinstance(form, NewHookForm) else 0,
        }
        return render(request, "portal/hook/form.html", context)

    def show_secret(self, request: HttpRequest, new: NewSecret, title: str) -> HttpResponse:
        """Render the page with a secret: the answer to the POST itself, so that nothing stores it."""
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "hook": new.hook,
            "text": new.text,
            "address": page.address_of(request, new.hook),
        }
        response = render(request, "portal/hook/secret.html", context)
        response.headers["Cache-Control"] = "no-store"
        return response

    # Its page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        hook: Hook = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": hook.name,
            "opts": self.opts,
            "original": hook,
            **page.context(request, hook),
        }
        return TemplateResponse(request, "portal/hook/page.html", context | (extra_context or {}))

    def edit(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the form of an existing hook, and save it."""
        hook: Hook = self.visible_or_404(request, pk)
        by = actor_of(request)
        if not by.is_same_person_as(hook.account.owner_id):
            raise PermissionDenied("Only the owner of its service account can change a hook.")
        form = HookForm(request.POST if request.method == "POST" else None, hook=hook)
        if request.method == "POST" and form.is_valid():
            try:
                hooks.change(hook, by=by, **form.arguments())
            except Refused as refusal:
                form.refuse(refusal)
            else:
                messages.success(request, f"Hook {form.cleaned_data['name']} saved.")
                return HttpResponseRedirect(page_of(hook))
        return self.show_form(request, form, hook)

    def enable(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.switch(request, pk, True)

    def disable(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.switch(request, pk, False)

    def switch(self, request: HttpRequest, pk: int, is_enabled: bool) -> HttpResponse:
        hook: Hook = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: hooks.set_enabled(hook, is_enabled, by=actor_of(request), reason=reason),
            f"Hook {hook.name} {'enabled' if is_enabled else 'disabled'}.",
        )
        return redirect_back(request, page_of(hook))

    # Its secrets

    def add_secret(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.make_secret(request, pk, hooks.add_secret, "Secret added")

    def replace_secrets(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.make_secret(request, pk, hooks.replace_secrets, "Secrets replaced")

    def make_secret(self, request: HttpRequest, pk: int, make: Callable[..., NewSecret], title: str) -> HttpResponse:
        """Make a secret and show it, unless the button was pressed twice or the page reloaded."""
        hook: Hook = self.visible_or_404(request, pk)
        by: Actor = actor_of(request)
        if double_submit.created_since(hook.secrets.all(), request.POST.get("newest_secret")).exists():
            text = "A secret was added after the page was opened. It cannot be shown again."
            messages.warning(request, text, extra_tags="hook.repeated")
            return HttpResponseRedirect(page_of(hook))
        try:
            return self.show_secret(request, make(hook, by=by), title)
        except Refused as refusal:
            messages.warning(request, refusal.message, extra_tags=refusal.code)
            return HttpResponseRedirect(page_of(hook))

    def remove_secret(self, request: HttpRequest, pk: int) -> HttpResponse:
        hook: Hook = self.visible_or_404(request, pk)
        secret = HookSecret(pk=number(request.POST.get("secret"), otherwise=0))
        perform(
            request,
            lambda reason: hooks.remove_secret(hook, secret, by=actor_of(request), reason=reason),
            "Secret removed.",
        )
        return redirect_back(request, page_of(hook))


def page_of(hook: Hook) -> str:
    return reverse("admin:runs_hook_change", args=[hook.pk])
