"""A text input whose value is read back below it while it is typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.urls import reverse

# Milliseconds after the last key.
PAUSE = 300


class LiveInput(forms.TextInput):
    """An input with a region that the view of `address` fills, with the values of the `watched` inputs of the page.

    Without a script the region stays empty, and the same is said when the form is sent.
    """

    template_name = "portal/_live_input.html"

    def __init__(self, attrs: dict[str, Any], *, address: str, watched: Sequence[str]) -> None:
        super().__init__(attrs)
        self.address, self.watched = address, tuple(watched)

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        return super().get_context(name, value, attrs) | {"region": live_region(self.address, self.watched)}


def live_region(address: str, watched: Sequence[str]) -> dict[str, str]:
    """Return `region` of `portal/_live_region.html`: it is filled when the page is loaded and when an input changes."""
    inputs = [f"[name='{each}']" for each in watched]
    return {
        "address": reverse(address),
        "trigger": ", ".join(["load", *(f"input delay:{PAUSE}ms from:{each}" for each in inputs)]),
        "inputs": ", ".join(inputs),
    }
