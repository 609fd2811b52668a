"""Labels of channels and deliveries."""

from __future__ import annotations

from portal.ui.rule_labels import Badge
from runs.models import Channel, Delivery

COLOURS: dict[str, str] = {
    Delivery.State.WANTED: "blue",
    Delivery.State.SENT: "green",
    Delivery.State.FAILED: "red",
}


def state_badge(channel: Channel) -> Badge:
    if not channel.is_enabled:
        return Badge("Disabled", "grey")
    if channel.failures:
        return Badge("Does not answer", "red")
    return Badge("Enabled", "green")


def delivery_badge(delivery: Delivery) -> Badge:
    return Badge(delivery.get_state_display(), COLOURS[delivery.state])
