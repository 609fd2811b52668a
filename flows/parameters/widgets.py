"""The inputs of a parameter form: their HTML, and what was submitted under their names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from django.utils.safestring import SafeString

from flows.parameters.markup import element, hidden, joined, opening
from flows.parameters.schema import Node
from flows.parameters.walk import types_of

# Classes of the portal's stylesheet. The theme's own are thirty words for each input, half of a page of many.
FIELD = "portal-input"
SELECT = f"{FIELD} is-select"

# A browser empties an input whose value does not match its type, and an empty input would change the value on submit:
# such a value gets a text input.
FORMS = {
    "date": r"\d{4}-\d\d-\d\d",
    "datetime-local": r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?",
    "number": r"-?\d+(\.\d+)?([eE][+-]?\d+)?",
    "time": r"\d\d:\d\d(:\d\d(\.\d{1,3})?)?",
}

type Attributes = Mapping[str, Any]
# The choice of a value that is not among those on offer, and what ends the name of the input for it.
OTHER = "-other"
# By the names of inputs: a QueryDict or a plain dict.
type Submitted = Mapping[str, Any]


@dataclass(eq=False)
class Widget:
    """One input. `attributes` are those of its element, beside its name, id and value."""

    attributes: dict[str, Any] = field(default_factory=dict)

    def is_submitted(self, data: Submitted, name: str) -> bool:
        """Return whether the input was in the form that was submitted."""
        return name in data

    def typed(self, data: Submitted, name: str) -> Any:
        """Return what was submitted, None for an input that was not in the form."""
        return data.get(name)

    def render(self, attributes: Attributes, value: Any) -> SafeString:
        raise NotImplementedError


@dataclass(eq=False)
class Entry(Widget):
    """A one-line input."""

    kind: str = "text"

    def render(self, attributes: Attributes, value: Any) -> SafeString:
        fits = not value or self.kind not in FORMS or re.fullmatch(FORMS[self.kind], str(value))
        shown = value if value and self.kind != "password" else None
        kind = self.kind if fits else "text"
        return opening("input", {"type": kind, **attributes, "value": shown, "class": FIELD, **self.attributes})


class Area(Widget):
    """A text of many lines."""

    def typed(self, data: Submitted, name: str) -> Any:
        # A list that had checkboxes when the form was displayed, before rows were added to it, sends several values.
        return "\n".join(listed(data, name)) if name in data else None

    def render(self, attributes: Attributes, value: Any) -> SafeString:
        # Browsers drop the first line break.
        return element("textarea", {**attributes, "class": FIELD, **self.attributes}, f"\n{value or ''}")


@dataclass(eq=False)
class Choice(Widget):
    """A select; `blank` is the label of the empty choice, None for no such choice."""

    choices: Mapping[str, str] = field(default_factory=dict)
    blank: str | None = None

    def render(self, attributes: Attributes, value: Any) -> SafeString:
        offered = self.choices if self.blank is None else {"": self.blank, **self.choices}
        options = [
            element("option", {"value": code, "selected": code == (value or "")}, label)
            for code, label in offered.items()
        ]
        chosen = element("select", {**attributes, "class": SELECT, **self.attributes}, *options)
        return element("div", {"class": "portal-select"}, chosen)


@dataclass(eq=False)
class Offer(Choice):
    """A select of the values on offer, whose last choice shows an input for another value."""

    other: Widget = field(default_factory=Widget)

    def typed(self, data: Submitted, name: str) -> Any:
        picked = data.get(name)
        return data.get(f"{name}{OTHER}", "") if picked == OTHER else picked

    def render(self, attributes: Attributes, value: Any) -> SafeString:
        is_other = bool(value) and value not in self.choices
        name, other_id = f"{attributes['name']}{OTHER}", f"{attributes['id']}{OTHER}"
        other = {**attributes, "name": name, "id": other_id, "autofocus": None}
        label = element("label", {"for": other_id, "class": "portal-hidden"}, "Another value")
        entry = self.other.render(other, value if is_other else "")
        return joined(
            Choice(self.attributes, {**self.choices, OTHER: "Another value…"}, self.blank).render(
                attributes, OTHER if is_other else value
            ),
            element("div", {"data-other": True}, label, entry),
        )


@dataclass(eq=False)
class Tick(Widget):
    """A checkbox. An unticked one is not submitted, so another input tells it from one that was not in the form.

    That is the input with the name `beside`, or else a hidden "false" under the name of the checkbox.
    """

    beside: str = ""

    def is_submitted(self, data: Submitted, name: str) -> bool:
        return name in data or self.beside in data

    def typed(self, data: Submitted, name: str) -> Any:
        # None for a box that was not in the form, such as that of a row just added: it is displayed with its default.
        return ("true" if "true" in listed(data, name) else "false") if self.is_submitted(data, name) else None

    def render(self, attributes: Attributes, value: Any) -> SafeString:
        box = _box({**attributes, **self.attributes}, "true", is_on=value == "true")
        return box if self.beside else joined(hidden(attributes["name"], "false"), box)


@dataclass(eq=False)
class Ticks(Widget):
    """A checkbox for each choice, with a hidden empty value for the same reason."""

    choices: Mapping[str, str] = field(default_factory=dict)

    def typed(self, data: Submitted, name: str) -> Any:
        return [code for code in listed(data, name) if code] if name in data else None

    def render(self, attributes: Attributes, value: Any) -> SafeString:
        boxes = []
        for index, (code, label) in enumerate(self.choices.items()):
            one = {**attributes, **self.attributes, "id": f"{attributes['id']}_{index}"}
            if index:  # only one element of a page has the focus
                one.pop("autofocus", None)
            boxes.append(labelled(_box(one, code, is_on=code in (value or ())), one["id"], label))
        group = element("div", {"id": attributes["id"], "class": "portal-choices"}, *boxes)
        return joined(hidden(attributes["name"], ""), group)


def _box(attributes: Attributes, value: str, *, is_on: bool) -> SafeString:
    return opening("input", {"type": "checkbox", **attributes, "value": value, "checked": is_on})


def labelled(box: SafeString, box_id: str, *label: str, **attributes: Any) -> SafeString:
    """Return a checkbox with its label beside it."""
    return element("div", {"class": "portal-choice", **attributes}, box, element("label", {"for": box_id}, *label))


def entry(kind: str, displayed: str, **attributes: Any) -> Widget:
    """Return a one-line input, or a text area for a value with line breaks, which an input would remove."""
    return area(rows=5) if "\n" in displayed or "\r" in displayed else Entry(attributes, kind)


def growing_area(displayed: str) -> Widget:
    """Return a text area that begins as one line and grows with its text."""
    # `rows` is for browsers without the style `field-sizing: content`.
    lines = displayed.count("\n") + 1
    return Area({"rows": min(lines, 12), "data-grows": True})


def area(rows: int, **attributes: Any) -> Widget:
    return Area({"rows": rows, **attributes})


def password() -> Widget:
    return Entry({"autocomplete": "off"}, "password")


def number(node: Node, displayed: str) -> Widget:
    """Return a number input with the bounds of the schema, where the browser's rules agree with JSON Schema's."""
    # Fractions get no step: browsers would refuse values that JSON Schema accepts.
    is_whole = types_of(node) == ["integer"]
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    step = node.get("multipleOf", 1)
    attributes: dict[str, Any] = {"step": 1 if is_whole else "any"}
    if is_whole and low is not None:
        low = int(low) + 1 if "minimum" not in node else ceil(low)
        # Browsers count steps from the minimum, JSON Schema from zero.
        if isinstance(step, int):
            low, attributes["step"] = ceil(low / step) * step, step
    elif step != 1:
        attributes["step"] = "any"
    if is_whole and high is not None:
        high = ceil(high) - 1 if "maximum" not in node else int(high)
    return entry("number", displayed, **attributes, min=low, max=high)


def listed(data: Submitted, name: str) -> Sequence[str]:
    """Return all values under a name, from a QueryDict or a plain dict."""
    if hasattr(data, "getlist"):
        values: list[str] = data.getlist(name)
        return values
    value = data.get(name, [])
    return value if isinstance(value, list) else [value]
