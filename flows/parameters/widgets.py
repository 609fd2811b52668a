"""The inputs of a parameter form."""

import re
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString

from flows.parameters.schema import Node
from flows.parameters.walk import types_of

# Classes of the portal's stylesheet. The theme's own are thirty words for each input, half of a page of many.
FIELD = "portal-input"
SELECT = f"{FIELD} is-select"
BOX = "portal-box"

# A browser empties an input whose value does not match its type, and an empty input would change the value on submit:
# such a value gets a text input.
FORMS = {
    "date": r"\d{4}-\d\d-\d\d",
    "datetime-local": r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?",
    "number": r"-?\d+(\.\d+)?([eE][+-]?\d+)?",
    "time": r"\d\d:\d\d(:\d\d(\.\d{1,3})?)?",
}


def entry(kind: str, displayed: str, **attrs: Any) -> forms.Widget:
    """Return a one-line input, or a text area for a value with line breaks, which an input would remove."""
    if "\n" in displayed or "\r" in displayed:
        return area(rows=5)
    fits = not displayed or kind not in FORMS or re.fullmatch(FORMS[kind], displayed)
    widget = forms.TextInput({"class": FIELD, **(attrs if fits else {})})
    widget.input_type = kind if fits else "text"
    return widget


def allow_redisplay(widget: forms.Widget, typed: Any) -> None:
    """Make an input a text input if the typed text does not match its type, so that the browser displays it."""
    form = FORMS.get(getattr(widget, "input_type", ""))
    if typed and form and isinstance(widget, forms.TextInput) and not re.fullmatch(form, str(typed)):
        widget.input_type = "text"


def growing_area(displayed: str) -> forms.Widget:
    """Return a text area that begins as one line and grows with its text."""
    # `rows` is for browsers without the style `field-sizing: content`.
    lines = displayed.count("\n") + 1
    return forms.Textarea({"class": FIELD, "rows": min(lines, 12), "data-grows": ""})


def area(rows: int, **attrs: Any) -> forms.Widget:
    return forms.Textarea({"class": FIELD, "rows": rows, **attrs})


def password() -> forms.Widget:
    return forms.PasswordInput({"class": FIELD, "autocomplete": "off"})


def number(node: Node, displayed: str) -> forms.Widget:
    """Return a number input with the bounds of the schema, where the browser's rules agree with JSON Schema's."""
    # Fractions get no step: browsers would refuse values that JSON Schema accepts.
    is_whole = types_of(node) == ["integer"]
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    step = node.get("multipleOf", 1)
    attrs: dict[str, Any] = {"step": 1 if is_whole else "any"}
    if is_whole and low is not None:
        low = int(low) + 1 if "minimum" not in node else ceil(low)
        # Browsers count steps from the minimum, JSON Schema from zero.
        if isinstance(step, int):
            low, attrs["step"] = ceil(low / step) * step, step
    elif step != 1:
        attrs["step"] = "any"
    if is_whole and high is not None:
        high = ceil(high) - 1 if "maximum" not in node else int(high)
    attrs |= {name: bound for name, bound in (("min", low), ("max", high)) if bound is not None}
    return entry("number", displayed, **attrs)


def select(choices: Mapping[str, str], blank: str | None) -> forms.Widget:
    """Return a select; `blank` is the label of the empty choice, None for no such choice."""
    offered = list(choices.items())
    return Choice({"class": SELECT}, choices=offered if blank is None else [("", blank), *offered])


class Choice(forms.Select):
    template_name = "flows/parameters/_select.html"


class Tick(forms.CheckboxInput):
    """A checkbox with a hidden "false": an unticked box is submitted, and differs from one that was not in the form."""

    def __init__(self) -> None:
        super().__init__({"class": BOX}, check_test=lambda value: value == "true")

    def format_value(self, value: Any) -> str:
        return "true"

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        box = super().render(name, value, attrs, renderer)
        return format_html('<input type="hidden" name="{}" value="false">{}', name, box)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        # None for a box that was not in the form, such as that of a row just added: it is displayed with its default.
        return ("true" if "true" in listed(data, name) else "false") if name in data else None

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return name not in data


class Ticks(forms.CheckboxSelectMultiple):
    """A checkbox for each choice, with a hidden empty value for the same reason."""

    template_name = "flows/parameters/_ticks.html"

    def __init__(self, choices: Mapping[str, str]) -> None:
        super().__init__({"class": BOX}, choices=list(choices.items()))

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        boxes = super().render(name, value, attrs, renderer)
        return format_html('<input type="hidden" name="{}" value="">{}', name, boxes)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str] | None:
        return [code for code in listed(data, name) if code] if name in data else None

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return name not in data


def listed(data: Any, name: str) -> Sequence[str]:
    """Return all values under a name, from a QueryDict or a plain dict."""
    if hasattr(data, "getlist"):
        values: list[str] = data.getlist(name)
        return values
    value = data.get(name, [])
    return value if isinstance(value, list) else [value]
