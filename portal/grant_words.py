"""Grants in words: whom they are for, what they say, where they hold, and whether they still do."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from flows.models import Grant


def where(grant: Grant) -> str:
    """What it covers; an allowing grant for every environment does not reach a protected one."""
    places = [str(grant.environment) if grant.environment else everywhere(grant)]
    if grant.full_name:
        places.append(grant.full_name)
    elif grant.flow_name:
        places.append(f"flow {grant.flow_name}")
    if grant.tag:
        places.append(f"what is tagged {grant.tag}")
    return ", ".join(places)


def everywhere(grant: Grant) -> str:
    return "every environment" if is_prohibition(grant) else "every environment that is not protected"


def is_prohibition(grant: Grant) -> bool:
    return grant.effect == Grant.Effect.DENY


def what(grant: Grant) -> str:
    verbs = [str(verb) for verb in grant.verbs]
    listed = ", ".join(verbs[:-1]) + (" and " if verbs[:-1] else "") + verbs[-1] if verbs else "nothing"
    return f"{'may not' if is_prohibition(grant) else 'may'} {listed}"


def sentence(grant: Grant) -> str:
    return f"{grant.subject} {what(grant)} in {where(grant)}."


def standing(grant: Grant, now: datetime | None = None) -> tuple[str, str]:
    """Whether it counts, and its colour."""
    now = now or timezone.now()
    if grant.revoked_at:
        return "Revoked", "grey"
    if grant.valid_until and grant.valid_until <= now:
        return "Expired", "grey"
    if grant.valid_from and grant.valid_from > now:
        return "Not yet", "blue"
    return "In force", "green"
