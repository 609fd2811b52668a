"""The search in the choices of a list that are too many for checkboxes."""

from dataclasses import replace

from flows.parameters.choices import code_of, first_choices, matching
from flows.parameters.coercion import Slot
from flows.parameters.field_types import MOST_LISTED
from flows.parameters.form_part import Inputs
from flows.parameters.messages import spelled
from flows.parameters.widgets import Entry
from flows.wording import listed, plural


class Finder:
    """An input that finds a choice by any part of it, and adds it to the list when the form is submitted.

    The form's script does that without leaving the page. The form is only partial while this input has text, and where
    its button was pressed.
    """

    def __init__(self, inputs: Inputs, name: str, slot: Slot) -> None:
        one = inputs.add(f"{name}-find", Entry({"autocomplete": "off"}), "", label="Find a choice")
        one.widget.attributes |= {"list": f"{one.id}_suggestions", "data-choices": f"{name}.0"}
        self.button = f"{inputs.html_name(name)}-add"
        self.term = (one.typed or "").strip()
        self.is_used = bool(self.term) or self.button in inputs.submitted
        self.added = code_of(self.term, slot.item) if self.term else None
        is_searched = bool(self.term) and self.added is None
        self.suggestions = matching(slot.item, self.term) if is_searched else first_choices(slot.item, MOST_LISTED)
        self.input = one if is_searched else replace(one, typed=None)

    @property
    def sentence(self) -> str:
        """What came of the search, "" where there was none."""
        if not self.term:
            return ""
        if self.added is not None:
            return f"{spelled(self.added)} was added. Add another one, or submit the form."
        if not self.suggestions:
            return f"No choice contains {spelled(self.term)}: nothing was added."
        found = plural(len(self.suggestions), "choice")
        return f"{found} found: {listed(list(map(spelled, self.suggestions)), MOST_LISTED)}. Pick one and add it."
