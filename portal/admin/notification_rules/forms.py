"""The form of a new notification rule."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.db.models import Q

from flows.models import Environment
from portal.admin import double_submit
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.models import Channel, NotificationRule
from runs.models.notification import PERSONAL, Topic
from runs.notifications.notification_rules import CHOOSABLE, LONGEST_NAME, MOST_MINUTES

INPUT = {"class": "portal-input"}
PLAIN = {**INPUT, "autocomplete": "off", "spellcheck": "false"}
# Code of a refusal -> the field it is about; others are about the form.
FIELDS = {
    "environment.unknown": "environment",
    "notification_rule.deployment": "full_name",
    "notification_rule.minutes": "after_minutes",
    "notification_rule.name": "name",
    "notification_rule.not_yours": "group",
    "notification_rule.receivers": "channel",
    "notification_rule.personal": "topics",
    "notification_rule.topics": "topics",
}


class NotificationRuleForm(forms.Form):
    """The arguments of `notification_rules.create`. Only administrators can choose a group."""

    name = forms.CharField(max_length=LONGEST_NAME, widget=forms.TextInput(PLAIN), help_text="Such as “nightly loads”.")
    group = forms.ModelChoiceField(
        Group.objects.none(),
        label="Receivers",
        required=False,
        empty_label="Only me",
        widget=forms.Select(INPUT),
        help_text="Each person of a group receives what they may see.",
    )
    channel = forms.ModelChoiceField(
        Channel.objects.none(),
        required=False,
        empty_label="None",
        widget=forms.Select(INPUT),
        help_text="Instead of people. It receives messages about a protected environment only if the rule names it.",
    )
    topics = forms.MultipleChoiceField(
        choices=[each for each in Topic.choices if each[0] in CHOOSABLE], widget=forms.CheckboxSelectMultiple()
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(), required=False, empty_label="All environments", widget=forms.Select(INPUT)
    )
    full_name = forms.CharField(
        label="Deployment",
        required=False,
        max_length=601,
        widget=forms.TextInput(PLAIN),
        help_text="flow/deployment. Blank: all of them.",
    )
    flow_name = forms.CharField(label="Flow", required=False, max_length=300, widget=forms.TextInput(PLAIN))
    tag = forms.CharField(
        required=False, max_length=300, widget=forms.TextInput(PLAIN), help_text="Only what has this tag."
    )
    after_minutes = forms.IntegerField(
        label="After (minutes)",
        required=False,
        min_value=0,
        max_value=MOST_MINUTES,
        widget=forms.NumberInput(INPUT),
        help_text=f"Only for “{Topic.WAITING.label}”: once, for requests that nobody has decided after so long. "
        "Blank: at once, for everyone who can approve.",
    )

    def __init__(self, by: Actor, permissions: Permissions, data: Any = None, initial: Any = None) -> None:
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.by = by
        self.fields["environment"].queryset = permissions.environments()  # type: ignore[attr-defined]  # a model's choices
        if by.is_administrator:
            self.fields["group"].queryset = Group.objects.order_by("name")  # type: ignore[attr-defined]  # as above
            self.fields["channel"].queryset = Channel.objects.filter(is_enabled=True)  # type: ignore[attr-defined]  # as above
            personal = ", ".join(f"“{Topic(topic).label}”" for topic in sorted(PERSONAL))
            self.fields["topics"].help_text = f"{personal} are for yourself alone."
        else:
            del self.fields["group"], self.fields["channel"]

    def newest(self) -> int:
        """Return the key of the newest rule: what the page knew when it was opened."""
        return double_submit.newest(NotificationRule.objects.all())

    def is_repeated(self) -> bool:
        """Return whether the form was sent before: there is a newer rule of this name than the page knew."""
        group, channel = self.cleaned_data.get("group"), self.cleaned_data.get("channel")
        receiver = Q(group=group, channel=channel) if group or channel else Q(person=self.by.user.pk)
        rows = NotificationRule.objects.filter(receiver, name=self.cleaned_data["name"].strip(), removed_at=None)
        return double_submit.created_since(rows, self.data.get("newest")).exists()

    def arguments(self) -> dict[str, Any]:
        return {**self.cleaned_data, "after_minutes": self.cleaned_data["after_minutes"] or 0}

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        field = FIELDS.get(refusal.code)
        self.add_error(field if field in self.fields else None, forms.ValidationError(refusal.message, refusal.code))
