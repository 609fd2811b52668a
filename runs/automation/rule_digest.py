"""The keyed hash of an event rule: changed in the database, it fires no more. Its pepper is that of tokens."""

from __future__ import annotations

import hashlib
import hmac

from django.conf import settings

from flows import canonical
from runs.errors import Refused
from runs.governance.token_secrets import scopes_text
from runs.models import EventRule

COVERED = [
    *("key", "name", "owner_id", "trigger", "environment_id", "tag", "flow_name", "full_name", "states"),
    *("artifact_key", "hook_id", "event_name", "conditions", "deployment_id", "mapping", "debounce_seconds"),
    *("per_hour", "valid_until", "is_enabled", "match_key", "token_id", "deleted_at"),
]


def sign(rule: EventRule) -> None:
    """Save a rule with the hash over what it says now."""
    rule.pepper = max(settings.TOKEN_PEPPERS)
    rule.digest = digest(rule, settings.TOKEN_PEPPERS[rule.pepper])
    rule.save()


def digest(rule: EventRule, pepper: str) -> str:
    """Return the HMAC-SHA256, in hexadecimal, over everything that a rule does; select its token with it."""
    # With what its token opens: that is covered by the secret of the token, which nobody has here.
    scopes = scopes_text(rule.token.scopes.all()) if rule.token else []
    covered = canonical.text({**{name: getattr(rule, name) for name in COVERED}, "scopes": scopes})
    return hmac.new(pepper.encode(), f"event rule {covered}".encode(), hashlib.sha256).hexdigest()


def is_intact(rule: EventRule) -> bool:
    """Return whether a rule is as the portal saved it."""
    pepper = settings.TOKEN_PEPPERS.get(rule.pepper)
    return pepper is not None and hmac.compare_digest(digest(rule, pepper), rule.digest)


def require_intact(rule: EventRule) -> None:
    if not is_intact(rule):
        raise Refused(
            "event_rule.altered",
            "The rule was changed in the database, or its pepper was removed. Check what it does; its owner can save "
            "it again.",
        )
