"""What became of the rows of a list action, kept in the session, so that its page can be reloaded."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.http import Http404, HttpRequest
from django.utils import timezone

# Of one list in one session: a session is read with every request, and 200 results are about 30 kB.
MOST_STORED = 3


def store(request: HttpRequest, kind: str, title: str, results: Sequence[Any]) -> uuid.UUID:
    """Store results, which are dataclasses, and forget older ones; `kind` names the list that they are of."""
    key = uuid.uuid4()
    entry = {"title": title, "at": timezone.now().isoformat(), "results": [asdict(each) for each in results]}
    entries = [*request.session.get(kind, {}).items(), (str(key), entry)]
    request.session[kind] = dict(entries[-MOST_STORED:])
    return key


def load(request: HttpRequest, kind: str, key: uuid.UUID) -> tuple[str, list[dict[str, Any]]]:
    """Return the title and the results; 404 for those of another session, or that are no longer stored."""
    entry = request.session.get(kind, {}).get(str(key))
    if entry is None:
        raise Http404
    return entry["title"], entry["results"]
