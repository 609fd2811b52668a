"""The app of the pages, and the admin site that replaces Django's default."""

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        # Users and groups are in the group "Portal" of the sidebar; their pages must not say "Authentication".
        apps.get_app_config("auth").verbose_name = self.verbose_name


class PortalAdminConfig(AdminConfig):
    default = False
    default_site = "portal.site.PortalSite"
