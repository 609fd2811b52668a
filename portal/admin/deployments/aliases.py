"""Aliases: stable names for deployments that survive redeploying under another id."""

from __future__ import annotations

import re
import shlex
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import ActionLocation
from django.contrib.postgres.fields import ArrayField
from django.db.models import CharField, F, Func, Model, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from flows.models import Alias, Deployment
from portal.admin.base import RestrictedAdmin
from portal.admin.service_admin import ServiceModelAdmin
from portal.auth.request_user import actor_of, permissions_of
from runs.actors import is_administrator
from runs.governance import configuration
from runs.models import ChangeRequest, Verb

FULL_NAME = re.compile(r"[^/]+/[^/]+")


class AliasForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument when it runs
    class Meta:
        model = Alias
        fields = ["environment", "name", "full_name"]

    def clean_full_name(self) -> str:
        full_name: str = self.cleaned_data["full_name"].strip()
        if not FULL_NAME.fullmatch(full_name):
            raise forms.ValidationError("Use the format of Prefect: flow name/deployment name.", "alias.format")
        return full_name


@admin.register(Alias)
class AliasAdmin(ServiceModelAdmin, RestrictedAdmin):
    form = AliasForm
    list_display = ["name", "where", "stands_for", "points_to"]
    list_select_related = ["environment"]
    search_fields = ["name", "full_name"]
    change_form_outer_before_template = "portal/alias/_target.html"
    change_form_outer_after_template = "portal/_story.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alias]:
        """Restrict aliases to people who can see the deployment, or could if it were deployed.

        The annotations give an alias the columns that grants are matched by: its flow name and tags.
        """
        named = Deployment.objects.filter(environment=OuterRef("environment"), full_name=OuterRef("full_name"))
        current = named.filter(deleted_upstream_at=None).order_by("-pk")
        # The tags of the last known deployment, deleted or not: a grant by tag must not end with a redeploy.
        tags = ArrayField(CharField())
        return (
            Alias.objects.select_related("environment__server")
            .annotate(
                flow_name=Func(F("full_name"), Value("/"), Value(1), function="SPLIT_PART", output_field=CharField()),
                tags=Coalesce(Subquery(named.order_by("-synced_at").values("tags")[:1]), Value([], output_field=tags)),
                deployment_id=Subquery(current.values("pk")[:1]),
            )
            .filter(permissions_of(request).q(Verb.SEE))
        )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "environment":
            field.widget = field.widget.widget  # without the buttons that add and edit environments in a popup
        return field

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_administrator(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_administrator(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_administrator(request.user)

    def get_actions(self, request: HttpRequest, action_location: ActionLocation = ActionLocation.CHANGE_LIST) -> Any:
        found = super().get_actions(request, action_location=action_location)
        found.pop("delete_selected", None)
        return found

    @admin.display(description="environment", ordering="environment")
    def where(self, alias: Alias) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": alias.environment})

    @admin.display(description="deployment", ordering="full_name")
    def stands_for(self, alias: Alias) -> SafeString:
        return render_to_string("portal/_name.html", {"full_name": alias.full_name})

    @admin.display(description="points to")
    def points_to(self, alias: Any) -> SafeString:
        return render_to_string("portal/alias/_points_to.html", {"deployment_id": alias.deployment_id})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        alias = self.visible_or_404(request, object_id)
        context = {"alias": alias, "commands": commands(alias), "show_save_and_add_another": False}
        response: HttpResponse = super().change_view(request, object_id, form_url, context | (extra_context or {}))
        return response

    def save_row(self, request: HttpRequest, row: Alias, form: Any) -> ChangeRequest | None:
        configuration.save_alias(row, by=actor_of(request))
        return None

    def delete_model(self, request: HttpRequest, obj: Alias) -> None:
        configuration.delete_alias(obj, by=actor_of(request))


def commands(alias: Alias) -> list[tuple[str, str]]:
    """Return (title, shell command) pairs that deploy what an alias points to."""
    flow_name, _, name = alias.full_name.partition("/")
    where = f"PREFECT_API_URL={shlex.quote(alias.environment.server.api_url)}"
    return [
        ("Your own flow, in its repository", f"{where} prefect deploy --name {shlex.quote(name)}"),
        ("Bundled flow", f"{where} python -m flows.deploy --only {shlex.quote(flow_name)}"),
    ]
