"""One field for who a grant is for: a person or a group."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import Group, User

from portal.ui.text import number

PERSON, GROUP = "person", "group"
INPUT = {"class": "portal-input"}


class WhoField(forms.ChoiceField):
    """Returns the person or the group; the choices are read when the form is made."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Select(INPUT), **options)

    def offer(self, *, groups: bool) -> None:
        """Set the choices. Without groups one that is sent all the same is accepted: the service refuses it."""
        people = User.objects.filter(is_active=True).order_by("username").values_list("pk", "username")
        choices: list[Any] = [("", "---------"), ("Users", [(f"{PERSON}:{pk}", name) for pk, name in people])]
        if groups:
            found = Group.objects.order_by("name").values_list("pk", "name")
            choices.append(("Groups", [(f"{GROUP}:{pk}", name) for pk, name in found]))
        self.choices = choices

    def clean(self, value: Any) -> User | Group | None:
        text = self.to_python(value)
        if text in self.empty_values:
            raise forms.ValidationError("Choose a user or a group.", "subject")
        kind, _, key = text.partition(":")
        rows: Any = User.objects.filter(is_active=True) if kind == PERSON else Group.objects.all()
        pk = number(key)
        found = rows.filter(pk=pk).first() if kind in (PERSON, GROUP) and pk is not None else None
        if found is None:
            raise forms.ValidationError("Choose a user or a group of the list.", "invalid_choice")
        return found  # type: ignore[no-any-return]  # one of the two


def value_of(person: Any, group: Any) -> str:
    """Return the value of the field for the keys of a person or a group."""
    return f"{PERSON}:{person}" if person else f"{GROUP}:{group}" if group else ""
