"""Everything is in the admin; the root leads there."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from portal import healthz, live, monitoring

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("health/live", healthz.live, name="health_live"),
    path("health/ready", healthz.ready, name="health_ready"),
    path("admin/live/", live.stream, name="live"),
    path("admin/monitoring/", admin.site.admin_view(monitoring.page), name="monitoring"),
    path("admin/", admin.site.urls),
]

handler400 = "portal.errors.bad_request"
handler403 = "portal.errors.forbidden"
handler404 = "portal.errors.not_found"
