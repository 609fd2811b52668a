"""What a selector matches, while it is typed: the number of deployments, their names, and names to choose from."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, QueryDict

from portal.admin.suggestions import matching_names
from portal.auth.request_user import permissions_of
from portal.ui.text import number
from runs.access import matching
from runs.models import Selector

NOTHING = "No deployment matches. Check the names."
WATCHED = ("environment", "flow_name", "full_name", "tag")


def typed_selector[Kind: Selector](kind: type[Kind], typed: QueryDict, request: HttpRequest) -> Kind:
    """Return the selector that is typed, not saved; an environment that the reader cannot see selects all."""
    texts = {name: typed.get(name, "").replace("\0", "").strip() for name in ("flow_name", "full_name", "tag")}
    place = number(typed.get("environment"))
    environment = permissions_of(request).environments().filter(pk=place).first() if place else None
    return kind(environment=environment, **texts)


def context_of(request: HttpRequest, selector: Selector) -> dict[str, Any]:
    """Return the context of `portal/selector/_matches.html`."""
    found = matching.matches_of(selector, permissions_of(request))
    return {
        "found": found,
        "warnings": [NOTHING] if found.is_narrow and not found.count else [],
        **matching_names(request, **{name: getattr(selector, name) for name in WATCHED}),
    }
