"""The URLs. All pages are in the admin; the root redirects there."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from portal.admin.monitoring import page
from portal.live import stream
from portal.ops import views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("health/live", views.live, name="health_live"),
    path("health/ready", views.ready, name="health_ready"),
    # Before the admin, which would look for an app called "live" or "monitoring".
    path("admin/live/", stream.stream, name="live"),
    path("admin/monitoring/", admin.site.admin_view(page.page), name="monitoring"),
    path("admin/", admin.site.urls),
]

handler400 = "portal.error_pages.bad_request"
handler403 = "portal.error_pages.forbidden"
handler404 = "portal.error_pages.not_found"
