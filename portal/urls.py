"""The URLs. All pages are in the admin; the root redirects there."""

from django.conf import settings
from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from portal.admin.help import page as help_page
from portal.admin.monitoring import page
from portal.admin.overview import first_steps
from portal.admin.profile import page as profile
from portal.api import problems
from portal.api.api import api
from portal.auth import password_reset, sign_in_again, single_sign_on
from portal.hooks import inbound
from portal.live import stream
from portal.ops import views

# The names are Django's. By the first one the sign-in page knows that it can offer a link, which needs a mail server.
REQUEST_LINK = [
    path("admin/password_reset/", password_reset.RequestView.as_view(), name="admin_password_reset"),
    path("admin/password_reset/done/", password_reset.RequestedView.as_view(), name="password_reset_done"),
]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("health/live", views.live, name="health_live"),
    path("health/ready", views.ready, name="health_ready"),
    # Before the admin, which would look for an app called "live", "monitoring", "first-steps", "help" and so on.
    path("admin/live/", stream.stream, name="live"),
    path("admin/monitoring/", admin.site.admin_view(page.page), name="monitoring"),
    path("admin/first-steps/hide/", admin.site.admin_view(first_steps.hide), name="hide_first_steps"),
    *(
        path(f"admin/{each}", admin.site.admin_view(view), name=name)
        for name, (each, view) in profile.ADDRESSES.items()
    ),
    *help_page.URLS,
    path("admin/sign-in-again/", admin.site.admin_view(sign_in_again.page), name=sign_in_again.ROUTE),
    *single_sign_on.URLS,
    *(REQUEST_LINK if settings.SENDS_MAIL else []),
    path("admin/reset/done/", password_reset.ChosenView.as_view(), name="password_reset_complete"),
    path("admin/reset/<uidb64>/<token>/", password_reset.ChooseView.as_view(), name="password_reset_confirm"),
    path("admin/", admin.site.urls),
    path("hooks/<slug:key>", inbound.receive, name="hook"),
    path("api/v1/", api.urls),
    path("api/<path:rest>", problems.missing_route),
]

handler400 = "portal.error_pages.bad_request"
handler403 = "portal.error_pages.forbidden"
handler404 = "portal.error_pages.not_found"
