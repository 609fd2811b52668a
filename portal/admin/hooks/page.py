"""Context of the page of a hook."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from portal.auth.request_user import actor_of, permissions_of, portal_address
from portal.ui import hook_labels, tables
from runs.access import predicates
from runs.automation import hook_digest
from runs.automation.hook_messages import MOST_SECRETS
from runs.models import Hook, Verb

# Deliveries that the page shows, and days on which messages were refused.
DELIVERIES, REFUSALS = 50, 30


def context(request: HttpRequest, hook: Hook) -> dict[str, Any]:
    """Build the template context; select with the hook what `hooks.visible_to` selects."""
    by = actor_of(request)
    is_own = by.is_same_person_as(hook.account.owner_id)
    is_altered = not hook_digest.is_intact(hook, hook_digest.texts_of(hook))
    may_change = is_own and not is_altered
    secrets = list(hook.secrets.order_by("pk"))
    deliveries = hook.deliveries.select_related("run_request")
    return {
        "hook": hook,
        "badge": hook_labels.ALTERED if is_altered else hook_labels.state_badge(hook),
        "is_altered": is_altered,
        "has_new_owner": hook.owner_id != hook.account.owner_id,
        "address": address_of(request, hook),
        "can_see_deployment": bool(permissions_of(request).decide(Verb.SEE, hook.deployment)),
        "mapping": list(hook_labels.mapping_rows(hook.mapping)),
        "condition": predicates.describe(hook.predicate) if hook.predicate else "",
        "predicate": json.dumps(hook.predicate, indent=2, ensure_ascii=False) if hook.predicate else "",
        "secrets": secrets,
        "newest_secret": secrets[-1].pk if secrets else 0,
        "deliveries": tables.HookDeliveryTable(deliveries.order_by("-received_at", "-pk")[:DELIVERIES]),
        "refusals": tables.HookRefusalTable(hook.refusals.order_by("-day", "code")[:REFUSALS]),
        "may_change": may_change,
        "may_replace": is_own,
        "may_add_secret": may_change and len(secrets) < MOST_SECRETS,
        "may_take_away": (is_own or by.is_administrator) and not is_altered,
    }


def address_of(request: HttpRequest, hook: Hook) -> str:
    """Return the address that a sender is given."""
    return f"{portal_address(request)}{reverse('hook', args=[hook.key])}"
