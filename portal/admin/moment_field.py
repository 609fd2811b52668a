"""The form field for a date and time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms

from flows import local_time

# What a datetime-local input sends and accepts.
FORMAT = "%Y-%m-%dT%H:%M"


class MomentInput(forms.DateTimeInput):
    """The browser's input for a date and time, or a text input where an offset is needed."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        if isinstance(value, str) and needs_text(value):
            context["widget"]["type"] = context["widget"]["attrs"]["type"] = "text"
        return context


def needs_text(typed: str) -> bool:
    """Return whether a browser's own input could not show the text, or not take the offset that it lacks."""
    try:
        moment = local_time.read(typed)
    except local_time.Repeated:
        return True
    except local_time.NotATime:
        return False
    return typed.strip() not in {moment.strftime(FORMAT), moment.strftime(f"{FORMAT}:%S")}


class MomentField(forms.DateTimeField):
    """A date and time in the portal's time zone, or with an offset; never one that is skipped or comes twice."""

    def __init__(self, *, attrs: dict[str, Any], **options: Any) -> None:
        widget = MomentInput(format=FORMAT, attrs={**attrs, "type": "datetime-local"})
        super().__init__(required=False, widget=widget, **options)

    def to_python(self, value: Any) -> datetime | None:
        if not isinstance(value, str):
            return super().to_python(value)
        if not value.strip():
            return None
        try:
            return local_time.read(value)
        except local_time.NotATime as error:
            raise forms.ValidationError(str(error), error.code) from error
