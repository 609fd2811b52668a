"""A condition on parameter values as rows of parameter, comparison and value."""

from __future__ import annotations

from typing import Any

from django import forms

from runs.access.condition_rules import LABELS, MOST_RULES, Rule, Unreadable

BLANK = Rule("", "", "")
LONGEST_NAME, LONGEST_VALUE = 300, 2000


class RulesWidget(forms.Widget):
    """One row for each rule, in plain inputs, so that it works without a script."""

    template_name = "portal/grant/_rules.html"
    use_fieldset = True

    def __init__(self) -> None:
        super().__init__()
        # Number of a rule -> what is wrong with it.
        self.problems: dict[int, str] = {}

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        given = list(value or [])[:MOST_RULES]
        rules = [*given, *[BLANK] * (MOST_RULES - len(given))]
        rows = [(number, rule, self.problems.get(number, "")) for number, rule in enumerate(rules, start=1)]
        # A blank row if there is none; the others are added one at a time.
        shown = len(given) or 1
        context: dict[str, Any] = super().get_context(name, None, attrs)
        return context | {"rules": rows[:shown], "more_rules": rows[shown:], "operators": LABELS}

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[Rule]:
        return typed_rules(data, name)

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        # The widget has no input of its own name, which Django looks for by default.
        return f"{name}-1-parameter" not in data


def typed_rules(data: Any, name: str) -> list[Rule]:
    """Return the rows that are filled in; a comparison alone is no rule."""
    rows = [
        Rule(
            str(data.get(f"{name}-{row}-parameter", "")).strip()[:LONGEST_NAME],
            str(data.get(f"{name}-{row}-operator", "")),
            str(data.get(f"{name}-{row}-value", "")).strip()[:LONGEST_VALUE],
        )
        for row in range(1, MOST_RULES + 1)
    ]
    return [rule for rule in rows if rule.parameter or rule.value]


def input_names(name: str) -> list[str]:
    return [f"{name}-{row}-{part}" for row in range(1, MOST_RULES + 1) for part in ("parameter", "operator", "value")]


class RulesField(forms.Field):
    """Returns the rules as they were typed: what they mean depends on the deployments that the grant is for."""

    widget = RulesWidget

    def clean(self, value: Any) -> list[Rule]:
        return list(value or [])

    def show(self, problems: list[Unreadable]) -> forms.ValidationError:
        """Show each problem at its row; return the error of the field."""
        # A form has fields of its own, so this widget is that of one page.
        self.widget.problems = {each.number: str(each) for each in problems}
        return forms.ValidationError([forms.ValidationError(str(each), each.code) for each in problems])

    def has_changed(self, initial: Any, data: Any) -> bool:
        return True
