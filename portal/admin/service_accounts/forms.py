"""The form of a service account, with the confirmation of what it opens."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import Q

from portal.admin.loosening_fields import LooseningFields
from runs.errors import Refused
from runs.governance import service_accounts
from runs.models import ServiceAccount

INPUT = {"class": "portal-input"}
# Code of a refusal -> the field it is about.
FIELDS = {
    "service_account.owner": "owner",
    "service_account.purpose_required": "purpose",
    "person.invalid": "name",
    "person.name_unclear": "name",
    "person.name_taken": "name",
}


class ServiceAccountForm(LooseningFields):
    """The arguments of `service_accounts.create` for a new account, and of `change` for an existing one."""

    name = forms.CharField(
        max_length=150,
        widget=forms.TextInput({**INPUT, "autocomplete": "off", "spellcheck": "false"}),
        help_text="Such as ci-robot. It cannot be changed later.",
    )
    owner = forms.ModelChoiceField(
        User.objects.none(),
        empty_label="Select a person",
        widget=forms.Select(INPUT),
        help_text="The person who answers for it. They create its tokens, and can neither approve its requests nor its "
        "grants.",
    )
    purpose = forms.CharField(
        max_length=service_accounts.MAX_PURPOSE_LENGTH,
        widget=forms.Textarea({**INPUT, "rows": 2}),
        help_text="What the account is for, for those who approve its requests and grants.",
    )
    is_active = forms.BooleanField(
        label="Enabled", required=False, help_text="Off: its tokens are refused and its grants do not apply."
    )

    def __init__(self, data: Any = None, *, account: ServiceAccount | None = None) -> None:
        super().__init__(data, initial=values_of(account) if account else None, use_required_attribute=False)
        self.account = account
        del self.fields["name" if account else "is_active"]
        people = Q(is_active=True, is_staff=True, service_account=None)
        # The present owner can stay, also while their account is disabled.
        owners = people | Q(pk=account.owner_id) if account else people
        self.fields["owner"].queryset = User.objects.filter(owners).order_by("username")  # type: ignore[attr-defined]  # a model's choices

    @property
    def own(self) -> list[forms.BoundField]:
        """Return the fields but for those of the confirmation."""
        return [self[name] for name in self.fields if name not in LooseningFields.base_fields]

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.account and not self.errors:
            self.require_confirmed(
                service_accounts.loosened_by(self.account, owner=values["owner"], is_active=values["is_active"])
            )
        return values

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        field = FIELDS.get(refusal.code)
        error = forms.ValidationError(refusal.message, refusal.code)
        self.add_error(field if field in self.fields else None, error)


def values_of(account: ServiceAccount) -> dict[str, Any]:
    return {"owner": account.owner_id, "purpose": account.purpose, "is_active": account.user.is_active}
