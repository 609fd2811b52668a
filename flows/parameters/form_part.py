"""What every part of a parameter form has: its label, help and errors, and the choice between empty and not set."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.utils.safestring import SafeString

from flows.parameters.coercion import Slot
from flows.parameters.field_types import allows_empty
from flows.parameters.schema import MISSING, Path
from flows.parameters.widgets import Submitted, Tick, Widget

# A value, or MISSING where none is to be sent, and whether the user changed it.
type Collected = tuple[Any, bool]


class PartError(NamedTuple):
    """An error displayed beside an input."""

    code: str
    message: str


NOT_EMPTY = "This field cannot be empty."
REQUIRED = PartError("parameter.required", "This value is required.")
NOT_SET = "Not set"


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the form: its HTML name, what it displays at first, and what was submitted for it."""

    name: str
    widget: Widget
    initial: Any
    # None for an input that was not submitted.
    typed: Any = None
    is_submitted: bool = False
    label: str = ""
    redisplay: Callable[[str], str] | None = None

    @property
    def id(self) -> str:
        return f"id_{self.name}"

    @property
    def displayed(self) -> Any:
        """What the input displays: what was typed, if anything was."""
        if self.typed is None:
            return self.initial
        return self.redisplay(self.typed) if self.redisplay else self.typed

    def render(self, **attributes: Any) -> SafeString:
        return self.widget.render({"name": self.name, "id": self.id, **attributes}, self.displayed)


@dataclass(slots=True)
class Inputs:
    """The inputs of a form by HTML name. Validation is not theirs: `validate()` decides about values."""

    prefix: str
    submitted: Submitted
    by_name: dict[str, Input] = field(default_factory=dict)

    def html_name(self, name: str) -> str:
        return f"{self.prefix}-{name}" if self.prefix else name

    def add(self, name: str, widget: Widget, initial: Any, **options: Any) -> Input:
        html_name, data = self.html_name(name), self.submitted
        typed, is_submitted = widget.typed(data, html_name), widget.is_submitted(data, html_name)
        one = Input(html_name, widget, initial, typed, is_submitted, **options)
        self.by_name[html_name] = one
        return one


@dataclass(kw_only=True, eq=False)
class FormPart:
    """A place in the values, with its label, its help and its initial value."""

    inputs: Inputs
    path: Path
    name: str
    slot: Slot
    is_required: bool
    # From the deployment or the caller. A default that is only in the schema is displayed, but not sent.
    given: Any
    has_default: bool = False  # in the schema
    # Where from Prefect fills in what is left blank; empty where it does not.
    source: str = ""
    errors: list[PartError] = field(default_factory=list)
    has_focus: bool = False
    # The checkbox that tells an empty value from none; None where a blank input can mean only one of the two.
    empty: Input | None = None

    @property
    def label(self) -> str:
        title, last = self.slot.node.get("title"), self.path[-1]
        return f"{title or 'Item'} {last + 1}" if isinstance(last, int) else title or last

    @property
    def help(self) -> str:
        words = f"Left blank, Prefect fills it in {self.source}." if self.source else ""
        return " ".join(filter(None, [self.slot.node.get("description"), words]))

    @property
    def html_name(self) -> str:
        return self.inputs.html_name(self.name)

    @property
    def id(self) -> str:
        return f"id_{self.html_name}"

    @property
    def is_marked(self) -> bool:
        return self.is_required and not self.slot.is_nullable

    @property
    def has_star(self) -> bool:
        # A row is there or not; none can be left blank.
        return self.is_marked and isinstance(self.path[-1], str)

    def untouched(self) -> Any:
        """Return the value to send when nothing was changed, or MISSING."""
        # A required parameter without any default gets null if that is allowed: sending nothing would be refused.
        nothing = self.given is MISSING and self.slot.displayed is MISSING
        return None if nothing and self.is_required and self.slot.is_nullable else self.given

    def tick(self, suffix: str, label: str, *, is_on: bool, beside: str = "") -> Input:
        """Add a checkbox that controls the form and is not a value."""
        widget = Tick(beside=beside)
        return self.inputs.add(f"{self.name}-{suffix}", widget, "true" if is_on else "false", label=label)

    def offer_empty(self, emptied: Any, beside: str) -> None:
        """Add the checkbox for an empty text or list, where blank would also mean null, missing or the default.

        `beside` is the input that is submitted with it.
        """
        shown = self.slot.displayed
        is_unset = not self.has_default and shown in (MISSING, emptied)
        is_unclear = self.slot.is_nullable or is_unset or (self.is_marked and emptied == "")
        if emptied is not MISSING and is_unclear and allows_empty(self.slot, emptied):
            label = "Send an empty list" if emptied == [] else "Send an empty text"
            self.empty = self.tick("empty", label, is_on=shown == emptied, beside=beside)

    def collect_blank(self, emptied: Any, *, is_emptied: bool) -> Collected:
        """Return the value of a blank input or a list without rows; `is_emptied`: it was displayed with a value."""
        shown = self.slot.displayed
        wants_empty = self.empty is not None and (
            self.empty.typed == "true" if self.empty.is_submitted else shown == emptied
        )
        if not is_emptied and (self.empty is None or wants_empty == (shown == emptied)):
            return self.untouched(), False
        if wants_empty:
            return emptied, True
        if self.slot.is_nullable:
            return None, True
        if not is_emptied:  # the checkbox was unticked: not set
            return MISSING, True
        # Someone who clears a required text usually does it by mistake.
        if emptied is MISSING or (emptied == "" and self.is_required):
            self.errors.append(PartError("parameter.empty", NOT_EMPTY))
            return MISSING, True
        return emptied, True

    @property
    def blank_help(self) -> str:
        """What a blank input or a list without rows means, where `source` does not say it."""
        if self.source:
            return ""
        if self.slot.is_nullable and (self.is_required or self.slot.displayed not in (MISSING, None)):
            return "Blank = none."
        if not self.is_required and self.slot.displayed is MISSING:
            return "Blank = the flow's default."
        return ""
