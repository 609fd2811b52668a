"""Tokens of programs: created, replaced and revoked, never edited. Their text is shown once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Model, QuerySet
from django.forms import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST

from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.suggestions import deployment_names
from portal.admin.tokens import page
from portal.admin.tokens.filters import AccountFilter, StateFilter, UnusedFilter
from portal.admin.tokens.forms import ScopeFormSet, Scopes, TokenForm, environments_of
from portal.auth.request_user import actor_of, portal_address
from portal.ui import grant_labels, token_labels
from runs.errors import Refused
from runs.governance import tokens
from runs.models import Token


@admin.register(Token)
class TokenAdmin(RestrictedAdmin):
    list_display = ["named", "account", "scopes_shown", "expires", "last_used", "state"]
    list_filter = [StateFilter, AccountFilter, UnusedFilter]
    list_before_template = "portal/token/_tools.html"
    search_fields = ["name", "key", "user__username"]
    search_help_text = "Name, key or account"
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Token]:
        return tokens.visible_to(actor_of(request))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let every active user in: tokens are their own."""
        return bool(request.user.is_active)

    # The list

    @admin.display(description="name", ordering="name")
    def named(self, token: Token) -> SafeString:
        return render_to_string("portal/token/_name.html", {"token": token})

    @admin.display(description="account", ordering="user__username")
    def account(self, token: Token) -> SafeString:
        context = {"token": token, "account": token_labels.service_account_of(token)}
        return render_to_string("portal/token/_account.html", context)

    @admin.display(description="scopes")
    def scopes_shown(self, token: Token) -> SafeString:
        labels = [token_labels.describe(scope) for scope in token.scopes.all()]
        return render_to_string("portal/token/_scopes.html", {"labels": labels})

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, token: Token) -> SafeString:
        return render_to_string("portal/token/_expires.html", {"token": token})

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, token: Token) -> SafeString:
        return render_to_string("portal/token/_last_used.html", {"token": token})

    @admin.display(description="state")
    def state(self, token: Token) -> SafeString:
        return render_to_string("portal/_state.html", {"row": token_labels.state_badge(token)})

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "new": ("new/", require_http_methods(["GET", "HEAD", "POST"])(self.new)),
            "rotate": ("<int:pk>/rotate/", require_POST(self.rotate)),
            "revoke": ("<int:pk>/revoke/", require_POST(self.revoke)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_token_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    # A new one

    def new(self, request: HttpRequest) -> HttpResponse:
        """Show the form; on POST create the token and show its text, which no other page can do."""
        data = request.POST if request.method == "POST" else None
        form = TokenForm(actor_of(request).user, data, initial=request.GET.dict())
        scopes: Scopes = ScopeFormSet(environments_of(form.accounts), data)
        # Both are checked, so that all errors are shown at once.
        if data is not None and all([form.is_valid(), scopes.is_valid()]):
            new = self.issue(request, form, scopes)
            if new:
                return self.show_text(request, new)
        context = {
            **self.admin_site.each_context(request),
            "title": "New token",
            "opts": self.opts,
            "form": form,
            "scopes": scopes,
            # Read now, also after a refusal: what is sent again then is meant.
            "newest_token": form.newest_token(),
            "examples": grant_labels.EXAMPLES,
            **deployment_names(request),
        }
        return render(request, "portal/token/new.html", context)

    def issue(self, request: HttpRequest, form: TokenForm, scopes: Scopes) -> tokens.NewToken | None:
        """Create the token; None if it is refused, which the form then shows."""
        with transaction.atomic():
            # A second click, or a reload of the page with the text, waits here and then finds the token of the first.
            User.objects.select_for_update(no_key=True).get(pk=actor_of(request).user.pk)
            if form.is_repeated():
                message = (
                    "A token of this name was created after this page was opened, so the form was probably sent twice. "
                    "Its text cannot be shown again. Submit the form once more to create another token."
                )
                form.add_error("name", ValidationError(message, "token.repeated"))
                return None
            try:
                return tokens.issue(
                    form.cleaned_data["account"],
                    by=actor_of(request),
                    name=form.cleaned_data["name"],
                    scopes=scopes.rows(),
                    expires_at=form.expires_at(),
                    networks=form.cleaned_data["networks"],
                    agent=form.cleaned_data["agent"],
                    reads_trail=form.cleaned_data.get("reads_trail", False),
                )
            except Refused as refusal:
                form.refuse(refusal)
                return None

    def show_text(self, request: HttpRequest, new: tokens.NewToken, replaced: Token | None = None) -> HttpResponse:
        """Render the page with the text of a token: the answer to the POST itself, so that nothing stores it."""
        context = {
            **self.admin_site.each_context(request),
            "title": "Token created",
            "opts": self.opts,
            "token": new.token,
            "text": new.text,
            "replaced": replaced,
            "portal_address": portal_address(request),
        }
        response = render(request, "portal/token/created.html", context)
        response.headers["Cache-Control"] = "no-store"
        return response

    # Its page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        token: Token = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": token.name,
            "opts": self.opts,
            "original": token,
            **page.context(token, actor_of(request)),
        }
        return TemplateResponse(request, "portal/token/page.html", context | (extra_context or {}))

    def rotate(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Replace the token, and show the text of the new one."""
        token: Token = self.visible_or_404(request, pk)
        overlap, _ = page.OVERLAPS.get(request.POST.get("overlap", ""), page.OVERLAPS[page.USUAL_OVERLAP])
        try:
            # Sent again, for instance by a reload, it is refused: a token is replaced once.
            new = tokens.rotate(token, by=actor_of(request), overlap=overlap)
        except Refused as refusal:
            messages.warning(request, refusal.message, extra_tags=refusal.code)
            return HttpResponseRedirect(page_of(token))
        token.refresh_from_db()
        return self.show_text(request, new, token)

    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        token: Token = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: tokens.revoke(token, by=actor_of(request), reason=reason),
            f"Token {token} revoked.",
        )
        return redirect_back(request, page_of(token))


def page_of(token: Token) -> str:
    return reverse("admin:runs_token_change", args=[token.pk])
