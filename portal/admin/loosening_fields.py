"""The fields of a form that loosens the rules of a protected environment: a reason and the environment's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings

from portal.admin.actions import LONGEST_REASON
from runs.governance import loosening_gate
from runs.governance.loosening import Loosening

INPUT = {"class": "portal-input", "autocomplete": "off", "spellcheck": "false"}


class LooseningFields(forms.Form):
    """Asks for both once the form is sent with something looser; `portal/_loosening.html` shows them."""

    loosening_reason = forms.CharField(
        label="Reason", required=False, max_length=LONGEST_REASON, widget=forms.Textarea({**INPUT, "rows": 2})
    )
    loosening_confirm = forms.CharField(
        label="Type the environment's name", required=False, max_length=500, widget=forms.TextInput(INPUT)
    )

    # A form that has a reason field already names it here, and drops this one.
    reason_field = "loosening_reason"
    # What a browser does not send again, in words.
    retype = ""
    # What the form as it was sent makes looser; empty until then.
    loosenings: Sequence[Loosening] = ()

    def require_confirmed(self, found: Sequence[Loosening]) -> None:
        """Add an error for each of the two that is missing; the service checks both again."""
        self.loosenings = found
        names = loosening_gate.environments_of(found)
        if found and not self.cleaned_data.get(self.reason_field, "").strip():
            self.add_error(self.reason_field, forms.ValidationError("Give a reason.", "loosening.reason_required"))
        if found and not loosening_gate.is_confirmed(found, self.cleaned_data.get("loosening_confirm", "")):
            message = f"Type {', '.join(names)} to confirm."
            self.add_error("loosening_confirm", forms.ValidationError(message, "loosening.confirm"))

    @property
    def needs_signature(self) -> bool:
        """Return whether what is confirmed here waits for a second administrator."""
        return not settings.SINGLE_ADMINISTRATOR

    @property
    def loosened_environments(self) -> str:
        return ", ".join(loosening_gate.environments_of(self.loosenings))

    @property
    def confirmation(self) -> dict[str, Any]:
        """Return what was typed, as the services take it."""
        return {
            "reason": self.cleaned_data.get(self.reason_field, ""),
            "confirm": self.cleaned_data.get("loosening_confirm", ""),
        }
