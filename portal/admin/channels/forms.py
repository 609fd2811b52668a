"""The forms of a channel: a new one, and what can be changed later. The stored address is never shown."""

from __future__ import annotations

from typing import Any

from django import forms

from portal.admin import double_submit
from runs.errors import Refused
from runs.models import Channel
from runs.notifications import channels
from runs.notifications.channel_addresses import LONGEST_ADDRESS, SERVICES

INPUT = {"class": "portal-input"}
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
# Code of a refusal -> the field it is about.
FIELDS = {
    "channel.name": "name",
    "channel.taken": "name",
    "channel.kind": "kind",
    "channel.address": "address",
}


class ChannelForm(forms.Form):
    """The arguments of `channels.change`."""

    name = forms.CharField(
        max_length=channels.LONGEST_NAME,
        widget=forms.TextInput({**INPUT, **PLAIN}),
        help_text="For people to recognize it by, such as “operations room”.",
    )
    address = forms.CharField(
        required=False,
        max_length=LONGEST_ADDRESS,
        # Not shown, also not after an error: who looks over a shoulder could post into the room.
        widget=forms.PasswordInput({**INPUT, **PLAIN, "autocomplete": "new-password"}),
        help_text="Blank: the stored address stays. It is encrypted, and not shown again.",
    )
    allows_private = forms.BooleanField(
        required=False,
        label="May reach private networks",
        help_text="For a server in your own network: it allows addresses that are not of the Internet, and http://. "
        "Requests can then be sent to whatever answers there.",
    )

    def __init__(self, data: Any = None, *, channel: Channel | None = None) -> None:
        initial = {"name": channel.name, "allows_private": channel.allows_private} if channel else None
        super().__init__(data, initial=initial, use_required_attribute=False)

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        field = FIELDS.get(refusal.code)
        error = forms.ValidationError(refusal.message, refusal.code)
        self.add_error(field if field in self.fields else None, error)


class NewChannelForm(ChannelForm):
    """The arguments of `channels.create`."""

    kind = forms.ChoiceField(
        choices=Channel.Kind.choices,
        initial=Channel.Kind.WEBHOOK,
        widget=forms.RadioSelect,
        help_text=f"It cannot be changed later. Other services: {', '.join(SERVICES.values())}.",
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        self.fields["address"].required = True
        self.fields["address"].help_text = (
            "Webhook, Slack, Teams: the https:// address that you were given. Others: an address of Apprise, such as "
            "pagerduty://INTEGRATION@KEY. It is encrypted, and not shown again."
        )

    def newest(self) -> int:
        """Return the key of the newest channel: what the page knew when it was opened."""
        return double_submit.newest(Channel.objects.all())

    def is_repeated(self) -> bool:
        """Return whether the form was sent before: there is a newer channel of that name than the page knew."""
        rows = Channel.objects.filter(name=self.cleaned_data["name"].strip())
        return double_submit.created_since(rows, self.data.get("newest")).exists()
