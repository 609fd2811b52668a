"""The admin site: all pages of the portal."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.admin import ModelAdmin
from django.contrib.auth.views import PasswordChangeView
from django.db.models.base import ModelBase
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from unfold.sites import UnfoldAdminSite

from portal import inbox
from portal.auth import kept_form, sign_in
from portal.lists import view_pages
from portal.ui import palette

# django-q2's own pages would show the arguments of every task to anyone with a Django permission.
PAGELESS_APPS = frozenset({"django_q"})


class PortalSite(UnfoldAdminSite):
    site_header = "Operations portal"
    site_title = "Operations portal"
    index_title = "Overview"
    index_template = "portal/overview/page.html"
    login_template = "portal/login.html"
    login_form = sign_in.SignInForm
    enable_nav_sidebar = True

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views = [
            path("views/save/", self.admin_view(view_pages.save), name="view_save"),
            path("views/<int:pk>/delete/", self.admin_view(view_pages.delete), name="view_delete"),
        ]
        # First: the admin's own end with a catch-all.
        return [*views, *super().get_urls()]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        unread = inbox.unread(request)
        return {
            **super().each_context(request),
            # For the banner that every page has meanwhile.
            "single_administrator": settings.SINGLE_ADMINISTRATOR,
            "unread": unread,
            # Empty without single sign-on.
            "sign_on_provider": settings.SSO_NAME if settings.SSO_ISSUER else "",
            # The theme's name for what comes before the title.
            "environment_title_prefix": f"({unread})" if unread else "",
        }

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the models of an app, for its page. No other page shows them, and each would ask for all of them."""
        return super().get_app_list(request, app_label) if app_label else []

    def register(
        self, model_or_iterable: Any, admin_class: type[ModelAdmin[Any]] | None = None, **options: Any
    ) -> None:
        models: list[Any] = [model_or_iterable] if isinstance(model_or_iterable, ModelBase) else [*model_or_iterable]
        wanted = [model for model in models if model._meta.app_label not in PAGELESS_APPS]
        if wanted:
            super().register(wanted, admin_class, **options)

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Search for the command palette; without a term, what it offers before."""
        # Replaces the theme's own, which caches results for minutes: longer than a revoked grant may work.
        term = request.GET.get("s", "").strip()
        groups = palette.find(request, term) if term else palette.start(request)
        return TemplateResponse(
            request,
            "portal/palette.html",
            {"term": term, "groups": groups, "number": sum(len(group.items) for group in groups)},
            headers={"HX-Trigger": "search"},
        )

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        page = super().login
        # A wrong password must not cost what was entered before.
        context = {kept_form.TOKEN: request.POST.get(kept_form.TOKEN, ""), **(extra_context or {})}
        return sign_in.sign_in(request, lambda: page(request, context))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Not the theme's own, which takes no other form.
        page: Any = PasswordChangeView.as_view(
            form_class=sign_in.OwnPasswordForm,
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return sign_in.change_password(request, lambda: page(request))

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        # Before Django's own, which flushes the session and with it the user.
        if request.method == "POST":
            sign_in.record_sign_out(request)
        return super().logout(request, extra_context)
