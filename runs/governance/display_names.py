"""Display names of environments: any text that can be read, but none that could be taken for another environment."""

from __future__ import annotations

from flows.models import Environment
from runs.errors import Refused
from runs.governance import account_names


def require_own_name(environment: Environment) -> None:
    """Refuse a display name that reads like another environment: a run could be requested in the wrong one."""
    name = environment.display_name
    if name and not (name.isprintable() and account_names.is_clear(name)):
        raise Refused(
            "environment.display_name",
            "The display name has an invisible character, double spaces, or letters of two alphabets in a word.",
        )
    for other in Environment.objects.exclude(pk=environment.pk):
        theirs = comparable(other.slug, other.display_name)
        if comparable(name) & theirs or comparable(environment.slug) & comparable(other.display_name):
            raise Refused("environment.display_name", f"Another environment is called {other.label}. Use another name.")


def comparable(*names: str) -> frozenset[str]:
    """Return how names can be read, without spaces: two that share one can be taken for each other."""
    return frozenset().union(*(account_names.keys("".join(name.split())) for name in names if name))
