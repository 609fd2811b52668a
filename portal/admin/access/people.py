"""Users and groups: who can sign in, and which groups they are in."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Model, Q, QuerySet
from django.forms.models import construct_instance
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_POST
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from flows.models import Environment
from portal.admin.access import person_page
from portal.admin.base import attempt
from portal.admin.changes import waiting
from portal.admin.loosening_fields import LooseningFields
from portal.admin.service_admin import ServiceModelAdmin
from portal.auth import browser_sessions
from portal.auth.request_user import actor_of
from portal.lists.change_list import RestrictedList
from portal.lists.filters import ChoiceFilter, Choices
from portal.ui import tables
from portal.ui.text import number
from runs import notifications
from runs.access.decisions import Permissions, active_grants
from runs.actors import is_administrator
from runs.errors import Refused
from runs.governance import accounts, preview, sign_on
from runs.models import ChangeRequest, ServiceAccount
from runs.notifications.mail_addresses import USABLE

# Django's permissions that have an effect here. Permissions on deployments and runs are grants.
OFFERED = {
    "runs": ["view_grant", "view_auditentry"],
}
LABELS = {
    "is_active": (
        "Enabled",
        "On: the user can sign in and their grants apply. History keeps the names of disabled users.",
    ),
    "is_staff": ("Can sign in", "On: the user can sign in here."),
    "is_superuser": (
        "Administrator",
        "Sets up the portal. Can view and pause everything, but needs a grant to start runs.",
    ),
}


class LabelledFilter(admin.BooleanFieldListFilter):
    """A filter by a field of Django's user, titled as on the form."""

    def __init__(self, field: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(field, *args, **kwargs)
        self.title = LABELS[field.name][0].lower()


class AddressFilter(ChoiceFilter):
    title = "email address"
    parameter_name = "address"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("none", "None"), ("approvers", "None, and can approve")]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        if values[-1] == "approvers":
            return Q(pk__in=notifications.approvers_without_address().values("pk"))
        return ~Q(email__regex=USABLE)


class AdministratorsOnly(ServiceModelAdmin):
    """Admin for superusers only: people who edit accounts can give themselves any permission."""

    title = ""
    compressed_fields = True

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_administrator(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # History refers to them: users are disabled and groups emptied instead.
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RestrictedList]:
        return RestrictedList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        page: HttpResponse = super().changelist_view(request, {"title": self.title, **(extra_context or {})})
        return page


class PersonFields(LooseningFields):
    """Asks for a confirmation of what the account can open by its groups, switches and administrator rights."""

    instance: User

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        # Only for a form that is valid otherwise: one thing at a time.
        if not self.errors:
            # A copy: Django writes the values into the form's own instance only after this.
            person = construct_instance(self, copy(self.instance))
            stored = User.objects.filter(pk=person.pk).first()
            self.require_confirmed(accounts.loosened_by(stored, person, values.get("groups", [])))
        return values


class NewPersonForm(PersonFields, UserCreationForm):
    retype = "Enter the password again."


class PasswordForm(LooseningFields, AdminPasswordChangeForm):
    retype = "Enter the password again."

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and values.get("set_usable_password", True):
            self.require_confirmed(accounts.loosened_by_password(self.user))
        return values


class PersonForm(PersonFields, UserChangeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].widget.template_name = "portal/people/_password.html"


admin.site.unregister([User, Group])


@admin.register(User)
class PersonAdmin(AdministratorsOnly, DjangoUserAdmin):  # type: ignore[type-arg]  # it takes no argument when it runs
    title = "Users"
    form = PersonForm
    add_form = NewPersonForm
    change_password_form = PasswordForm
    change_user_password_template = "portal/people/set_password.html"  # noqa: S105  (a template)
    change_form_before_template = "portal/_loosening_of_admin_form.html"
    list_display = ["username", "full_name", "email", "memberships", "administers", "is_enabled", "last_login"]
    list_filter = ["groups", ("is_superuser", LabelledFilter), ("is_active", LabelledFilter), AddressFilter]
    filter_horizontal = ()
    fieldsets = [
        (None, {"fields": ["username", "password", "first_name", "last_name", "email"]}),
        ("Permissions", {"fields": ["groups", "is_active", "is_staff", "is_superuser"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [
        (None, {"fields": ["username", "usable_password", "password1", "password2", "email"]}),
        ("Permissions", {"fields": ["groups", "is_staff", "is_superuser"]}),
    ]
    readonly_fields = ["last_login", "date_joined"]
    change_form_outer_after_template = "portal/people/_rights.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        # Service accounts have no password and no groups; they are on pages of their own.
        rows = super().get_queryset(request).filter(service_account=None)
        return rows.select_related("sign_on_identity").prefetch_related("groups")

    @admin.display(description="name", ordering="first_name")
    def full_name(self, person: User) -> str:
        return person.get_full_name() or "-"

    @admin.display(description="groups")
    def memberships(self, person: User) -> str:
        return ", ".join(group.name for group in person.groups.all()) or "-"

    @admin.display(description="administrator", boolean=True, ordering="is_superuser")
    def administers(self, person: User) -> bool:
        return person.is_superuser

    @admin.display(description="enabled", boolean=True, ordering="is_active")
    def is_enabled(self, person: User) -> bool:
        return person.is_active

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in LABELS:
            kwargs["label"], kwargs["help_text"] = LABELS[db_field.name]
        elif db_field.name == "groups":
            kwargs["widget"], kwargs["help_text"] = UnfoldAdminCheckboxSelectMultipleWidget(), ""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "groups" and field:
            # Unwrapped: Django's wrapper adds links to create and edit groups inside the form.
            field.widget = field.widget.widget
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"is_staff": True, **super().get_changeform_initial_data(request)}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        person = self.get_object(request, object_id)
        account = ServiceAccount.objects.filter(user=number(object_id)).first() if person is None else None
        if account and self.has_view_permission(request):
            return HttpResponseRedirect(reverse("admin:runs_serviceaccount_change", args=[account.pk]))
        context: dict[str, Any] = {"show_save_and_add_another": False}
        if person:
            context |= person_page.rights(Permissions.of_person(person), Environment.objects.all())
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def get_urls(self) -> list[URLPattern]:
        try_as = self.admin_site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(self.try_as))
        disconnect = self.admin_site.admin_view(require_POST(self.disconnect_sign_on))
        return [
            path("<int:pk>/try/", try_as, name="auth_user_try"),
            path("<int:pk>/disconnect-sign-on/", disconnect, name="auth_user_disconnect_sign_on"),
            *super().get_urls(),
        ]

    def disconnect_sign_on(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Disconnect a person from their identity at the provider, and sign them out."""
        if not self.has_change_permission(request):
            raise PermissionDenied("Only administrators can disconnect other users from single sign-on.")
        person = self.get_object(request, str(pk))
        if person is None:
            raise Http404
        attempt(
            request,
            person,
            lambda: sign_on.disconnect(person, by=actor_of(request), end_sessions=browser_sessions.end_all),
            f"disconnected from {settings.SSO_NAME} and signed out everywhere.",
        )
        return HttpResponseRedirect(reverse("admin:auth_user_change", args=[person.pk]))

    def try_as(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what a user would see, computed from their grants. The reader stays signed in as themselves."""
        if not self.has_view_permission(request):
            raise PermissionDenied("Only administrators can preview the access of other users.")
        person = self.get_object(request, str(pk))
        if person is None:
            raise Http404
        form = person_page.TryForm(request.POST) if request.method == "POST" else person_page.TryForm()
        context = {
            **self.admin_site.each_context(request),
            "title": f"Preview as {person}",
            "opts": self.opts,
            "person": person,
            "form": form,
        }
        if request.method == "POST" and form.is_valid():
            # The service records the preview, so that reading another user's access is audited.
            permissions = preview.preview_as(person, by=actor_of(request), reason=form.cleaned_data["reason"])
            context |= {"preview": person_page.preview(permissions, form.cleaned_data["words"])}
        return render(request, "portal/people/try.html", context)

    def save_row(self, request: HttpRequest, row: User, form: Any) -> ChangeRequest | None:
        return accounts.save_person(row, groups=form.cleaned_data["groups"], by=actor_of(request), **form.confirmation)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002  (Django's name)
        if number(id) == request.user.pk and self.has_change_permission(request):
            # The page for changing your own password asks for the old one.
            return HttpResponseRedirect(reverse("admin:password_change"))
        person = self.get_object(request, id)
        if request.method == "POST" and person and self.has_change_permission(request, person):
            make_form: Any = self.change_password_form
            form = make_form(person, request.POST)
            if form.is_valid():
                return self.set_password(request, person, form)
        # Django's own view renders the form, with its errors; it never gets one that is valid.
        return super().user_change_password(request, id, form_url)

    def set_password(self, request: HttpRequest, person: User, form: Any) -> HttpResponse:
        """Save a valid form through the service."""
        if form.cleaned_data.get("set_usable_password", True):
            person.set_password(form.cleaned_data["password1"])
        else:
            person.set_unusable_password()
        page = reverse("admin:auth_user_change", args=[person.pk])
        try:
            change = accounts.set_password(person, by=actor_of(request), **form.confirmation)
        except Refused as refusal:
            messages.warning(request, refusal.message, extra_tags=refusal.code)
            return HttpResponseRedirect(page)
        if change:
            return waiting.show(request, change)
        messages.success(request, f"Password of {person} set.")
        return HttpResponseRedirect(page)


@admin.register(Group)
class GroupAdmin(AdministratorsOnly, DjangoGroupAdmin):
    title = "Groups"
    list_display = ["name", "members", "grants_in_force"]
    filter_horizontal = ()
    change_form_outer_after_template = "portal/people/_grants.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        # Counted distinct: two joins to many in one query multiply each other's rows.
        valid = Q(grants__in=active_grants().values("pk"))
        return (
            super()
            .get_queryset(request)
            .annotate(
                people=Count("user", filter=Q(user__is_active=True), distinct=True),
                valid_grants=Count("grants", filter=valid, distinct=True),
            )
        )

    @admin.display(description="members", ordering="people")
    def members(self, group: Any) -> int:
        found: int = group.people
        return found

    @admin.display(description="active grants", ordering="valid_grants")
    def grants_in_force(self, group: Any) -> int:
        found: int = group.valid_grants
        return found

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any) -> Any:
        # A queryset without the other permissions also rejects them when they are posted.
        offered = Q(pk__in=[])
        for app, codenames in OFFERED.items():
            offered |= Q(content_type__app_label=app, codename__in=codenames)
        kwargs["queryset"] = Permission.objects.filter(offered).select_related("content_type")
        kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
        kwargs["help_text"] = "In addition to its grants. Everything else is reserved for administrators."
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        group = self.get_object(request, object_id)
        context: dict[str, Any] = {"show_save_and_add_another": False}
        if group:
            context |= {
                "grants": tables.GrantTable(active_grants().filter(group=group)),
                "people": group.user_set.filter(is_active=True).order_by("username"),
            }
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def save_row(self, request: HttpRequest, row: Group, form: Any) -> ChangeRequest | None:
        accounts.save_group(row, permissions=form.cleaned_data["permissions"], by=actor_of(request))
        return None
