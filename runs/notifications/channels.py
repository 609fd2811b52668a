"""Channels: the only code that writes `Channel`, but for what became of the last attempts.

Only administrators manage them: what a channel receives leaves the portal, and can be about protected environments.
All administrators and auditors are notified of what lets messages go elsewhere. The address is stored encrypted, and no
page, error or audit entry has it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from flows import encryption
from flows.db_text import sanitize
from runs import audit
from runs.actors import Actor
from runs.automation.hook_messages import new_standard_secret
from runs.errors import Refused
from runs.governance.configuration import difference, require_administrator
from runs.governance.rule_changes import oversees
from runs.models import Channel, Delivery
from runs.models.notification import Topic
from runs.notifications import deliveries, services
from runs.notifications.channel_addresses import Address, parse
from runs.notifications.recipients import notify_overseers

LONGEST_NAME = 100
# Columns in the audit trail.
COLUMNS = ("name", "kind", "destination", "allows_private", "is_enabled", "disabled_why")
GONE = "It answered 410 Gone: the address exists no longer. Enter another one and enable the channel again."


@dataclass(frozen=True, slots=True)
class NewChannel:
    """A channel, and the secret with which its messages are signed, "" if they are not.

    `secret` is the only time that it leaves the portal.
    """

    channel: Channel
    secret: str

    def __repr__(self) -> str:
        return f"NewChannel({self.channel})"


# Create and change ----------------------------------------------------------------------------------------------------


def create(*, by: Actor, name: str, kind: str, address: str, allows_private: bool = False) -> NewChannel:
    """Create a channel, for administrators. Raises `Refused` with a code `channel.…`."""
    name = sanitize(name.strip())[:LONGEST_NAME]
    with audit.act("channel.create", None, by=by, subject_kind="channel", subject_name=name) as act:
        require_administrator(by)
        if kind not in Channel.Kind.values:
            raise Refused("channel.kind", "There is no such kind of channel.")
        require_name(name)
        parsed = parse(kind, address, allows_private=allows_private)
        secret = new_standard_secret() if kind == Channel.Kind.WEBHOOK else ""
        channel = Channel.objects.create(
            name=name,
            kind=kind,
            sealed_address=encryption.seal(parsed.text),
            sealed_secret=encryption.seal(secret) if secret else b"",
            destination=parsed.destination,
            allows_private=allows_private,
            created_by_name=by.name,
        )
        act.subject, act.after = channel, describe(channel)
        notify(channel, by, "was added")
    return NewChannel(channel, secret)


def change(channel: Channel, *, by: Actor, name: str, address: str = "", allows_private: bool) -> None:
    """Change a channel, for administrators; without an address the stored one stays. Raises `Refused`."""
    with audit.act("channel.change", channel, by=by) as act:
        require_administrator(by)
        stored = lock(channel)
        before = describe(stored)
        name = sanitize(name.strip())[:LONGEST_NAME]
        require_name(name, stored)
        if address.strip():
            set_address(stored, parse(stored.kind, address, allows_private=allows_private))
        elif stored.allows_private and not allows_private:
            # Else one that begins with http:// would stay.
            parse(stored.kind, encryption.unseal(stored.sealed_address), allows_private=False)
        stored.name, stored.allows_private = name, allows_private
        stored.save()
        act.before, act.after = difference(before, describe(stored))
        if address.strip():
            act.after["address"] = "replaced"
        if address.strip() or "allows_private" in act.after:
            notify(stored, by, "leads elsewhere now" if address.strip() else "was changed")


def set_enabled(channel: Channel, is_enabled: bool, *, by: Actor, reason: str = "") -> None:
    """Enable or disable a channel, for administrators. What is queued for a disabled one fails."""
    with audit.act("channel.enable" if is_enabled else "channel.disable", channel, by=by, reason=reason) as act:
        require_administrator(by)
        stored = lock(channel)
        before = describe(stored)
        stored.is_enabled, stored.disabled_why = is_enabled, "" if is_enabled else sanitize(reason)[:300]
        # Another attempt at once: it may have been repaired.
        stored.failures, stored.next_attempt_at = 0, None
        stored.save()
        act.before, act.after = difference(before, describe(stored))
        if is_enabled and act.after:
            notify(stored, by, "was enabled")


def replace_secret(channel: Channel, *, by: Actor) -> NewChannel:
    """Replace the secret of a webhook, for administrators: messages are signed with the new one at once."""
    with audit.act("channel.replace_secret", channel, by=by):
        require_administrator(by)
        stored = lock(channel)
        if stored.kind != Channel.Kind.WEBHOOK:
            raise Refused("channel.no_secret", "Only messages to a webhook are signed.")
        secret = new_standard_secret()
        stored.sealed_secret = encryption.seal(secret)
        stored.save()
    return NewChannel(stored, secret)


def send_test(channel: Channel, *, by: Actor) -> Delivery:
    """Send a message that says who tests the channel, for administrators; return its delivery."""
    with audit.act("channel.test", channel, by=by) as act:
        require_administrator(by)
        stored = lock(channel)
        require_enabled(stored)
        text = f"{by.name} tests the channel {stored}. Nothing happened, and nothing is to be done."
        notice = services.create(None, Topic.CHANNEL, None, f"Test of {stored}", text, stored, [stored])
        delivery = notice.deliveries.get()
        act.after = {"delivery": delivery.pk}
    return delivery


def replay(delivery: Delivery, *, by: Actor) -> None:
    """Send a message to a channel once more with the same id, for administrators."""
    channel = delivery.channel
    if channel is None:
        raise TypeError("An email is not replayed.")
    with audit.act("channel.replay", channel, by=by) as act:
        require_administrator(by)
        require_enabled(lock(channel))
        deliveries.replay(delivery)
        act.after = {"delivery": delivery.pk, "message": str(delivery.key)}


def disable_gone(channel: Channel) -> None:
    """Disable a channel whose other side says that it exists no longer, and notify administrators and auditors."""
    by = Actor.system()
    with audit.act("channel.disable", channel, by=by, reason=GONE) as act:
        stored = lock(channel)
        act.before, act.after = {"is_enabled": stored.is_enabled}, {"is_enabled": False}
        stored.is_enabled, stored.disabled_why = False, GONE
        stored.save()
        notify(stored, by, "was disabled", GONE)


# What is required -----------------------------------------------------------------------------------------------------


def lock(channel: Channel) -> Channel:
    return Channel.objects.select_for_update().get(pk=channel.pk)


def require_name(name: str, channel: Channel | None = None) -> None:
    if not name:
        raise Refused("channel.name", "Give the channel a name, such as “operations room”.")
    others = Channel.objects.exclude(pk=channel.pk) if channel else Channel.objects.all()
    if others.filter(name=name).exists():
        raise Refused("channel.taken", f"A channel named {name} already exists.")


def require_enabled(channel: Channel) -> None:
    if not channel.is_enabled:
        raise Refused("channel.disabled", f"The channel {channel} is disabled. Enable it first.")


def set_address(channel: Channel, address: Address) -> None:
    channel.sealed_address, channel.destination = encryption.seal(address.text), address.destination
    channel.failures, channel.next_attempt_at = 0, None


def describe(channel: Channel) -> dict[str, Any]:
    """Return what the audit trail has of a channel."""
    return {name: getattr(channel, name) for name in COLUMNS}


def notify(channel: Channel, by: Actor, what: str, why: str = "") -> None:
    """Notify all administrators and auditors of where messages of the portal go."""
    place = f"{channel.get_kind_display()} at {channel.destination}"
    notify_overseers(
        Topic.CHANNEL,
        [],
        f"Channel {channel} {what}",
        f"{place}. {why or f'By {by.name}. Notifications that rules send there leave the portal.'}",
        target=channel,
        only_overseers=True,
    )


# Queries --------------------------------------------------------------------------------------------------------------


def visible_to(by: Actor) -> QuerySet[Channel]:
    """Return all channels to administrators and auditors, none to others."""
    return Channel.objects.all() if oversees(by) else Channel.objects.none()


def deliveries_of(channel: Channel) -> QuerySet[Delivery]:
    """Return the deliveries to a channel, the newest first."""
    return channel.deliveries.select_related("notification").order_by("-pk")
