"""Saved views: filters of a list under a name. The only writer of `SavedView`."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import QueryDict

from portal.models import SavedView
from runs import audit
from runs.actors import Actor, is_administrator
from runs.errors import Refused

# Of one person and list: more than a menu can show.
MOST_VIEWS = 30
LONGEST_NAME = SavedView._meta.get_field("name").max_length or 0
LONGEST_QUERY = SavedView._meta.get_field("query").max_length or 0
# Which page of a list somebody was on does not belong to what they look for.
LEFT_OUT = ("after", "before", "p", "e")


def visible_to(actor: Actor, list_label: str) -> QuerySet[SavedView]:
    """Return the person's own views of a list, and those that others share."""
    found = SavedView.objects.filter(Q(owner=actor.user.pk) | Q(is_shared=True, owner__is_active=True), list=list_label)
    return found.select_related("owner")


@transaction.atomic
def save(list_label: str, name: str, query: str, *, is_shared: bool, by: Actor) -> SavedView:
    """Save a query string under a name; a view of that name is replaced.

    Raises `Refused` with code `view.name`, `view.too_long` or `view.too_many`.
    """
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME:
        raise Refused("view.name", f"Enter a name of at most {LONGEST_NAME} characters for the view.")
    cleaned = clean(query)
    if len(cleaned) > LONGEST_QUERY:
        raise Refused("view.too_long", "The filters are too long to be saved. Remove some of them.")
    own = SavedView.objects.filter(owner=by.user.pk, list=list_label)
    if own.exclude(name=name).count() >= MOST_VIEWS:
        raise Refused("view.too_many", f"You have {MOST_VIEWS} saved views of this list. Delete one first.")
    with audit.act("view.save", None, by=by, subject_kind="view", subject_name=name) as act:
        view, _ = SavedView.objects.update_or_create(
            owner_id=by.user.pk, list=list_label, name=name, defaults={"query": cleaned, "is_shared": is_shared}
        )
        act.after = {"list": list_label, "filters": cleaned, "shared": is_shared}
    return view


@transaction.atomic
def delete(view: SavedView, *, by: Actor) -> None:
    """Delete a view; raises `Refused` with code `view.not_own`. Administrators also delete those that others share."""
    if view.owner_id != by.user.pk and not (view.is_shared and is_administrator(by.user)):
        raise Refused("view.not_own", f"The view “{view}” belongs to someone else.")
    with audit.act("view.delete", None, by=by, subject_kind="view", subject_name=view.name) as act:
        act.before = {"list": view.list, "filters": view.query, "shared": view.is_shared, "owner": view.owner_id}
        view.delete()


def clean(query: str) -> str:
    """Return the query string without what is about one page of the list, and without empty values."""
    found = QueryDict(mutable=True)
    for name, values in QueryDict(query.removeprefix("?").replace("\0", "")).lists():
        if name not in LEFT_OUT:
            found.setlist(name, [value for value in values if value])
    return found.urlencode()
