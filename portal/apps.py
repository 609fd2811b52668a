"""The app of the pages, and the admin site that replaces Django's default."""

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig
from django.core import checks
from django.utils.module_loading import import_string


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        # Users and groups are in the group "Portal" of the sidebar; their pages must not say "Authentication".
        apps.get_app_config("auth").verbose_name = self.verbose_name
        # By name: it needs the models, which are not loaded when this file is.
        checks.register(import_string("portal.ops.database_checks.check_protection"), checks.Tags.database)


class PortalAdminConfig(AdminConfig):
    default = False
    default_site = "portal.site.PortalSite"
