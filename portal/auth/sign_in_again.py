"""Links in messages about what waits for a decision: they ask to sign in, unless that was done just now."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from portal.auth import browser_sessions, sign_in

ROUTE, NEXT = "sign_in_again", LoginView.redirect_field_name


def path_through(path: str) -> str:
    """Return the path of a link that leads to `path` and asks to sign in before."""
    return f"{reverse(ROUTE)}?{NEXT}={quote(path)}"


class AgainForm(sign_in.SignInForm):
    """The form to sign in, which knows the user name already."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # It can be changed: people who administer have a second account to approve with.
        self.fields["username"].widget.attrs.pop("autofocus", None)
        self.fields["password"].widget.attrs["autofocus"] = True


def page(request: HttpRequest) -> HttpResponse:
    """Show the form to sign in, and then what the link leads to; at once for who has just signed in."""
    if request.method == "GET" and browser_sessions.is_proven(request):
        return HttpResponseRedirect(LoginView().get_redirect_url(request) or reverse("admin:index"))
    view: Any = LoginView.as_view(
        authentication_form=AgainForm,
        initial={"username": request.user.get_username()},
        next_page="admin:index",
        template_name="portal/sign_in_again.html",
        extra_context={
            **admin.site.each_context(request),
            "title": "Sign in again",
            "app_path": request.get_full_path(),
            # A wrong password does not mean that this account may not open the page, as the theme would say.
            "user": AnonymousUser(),
        },
    )
    return sign_in.sign_in(request, lambda: view(request))
