"""The portal: who is looking."""

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        # People and groups stand under the name that the sidebar gives them.
        apps.get_app_config("auth").verbose_name = self.verbose_name


class PortalAdminConfig(AdminConfig):
    default = False
    default_site = "portal.site.PortalSite"
