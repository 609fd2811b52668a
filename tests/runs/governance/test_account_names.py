"""Names that look like another one, or cannot be read, are refused by the service that saves accounts."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from runs.actors import Actor
from runs.governance import account_names, accounts
from runs.models import AuditEntry
from tests.cast import by
from tests.portal.page_elements import refusal_codes
from tests.refusals import refused

ALIKE = {
    "case": ("Otto", "otto"),
    "full width": ("\uff4ftto", "otto"),
    "Cyrillic": ("\u043e\u0442\u0442\u043e", "otto"),
    "Greek capitals": ("\u0391\u039d\u039d\u0391", "anna"),
    "Turkish capital I": ("\u0130ris", "iris"),
    "Turkish dotless i": ("\u0131ris", "iris"),
    "sharp s": ("stra\u00dfe", "strasse"),
    "ligature": ("\ufb01nn", "finn"),
    "capital I for l": ("Ivan", "lvan"),
    "digits": ("b0b1", "bobl"),
    "dash": ("release\u2011manager", "release-manager"),
    "composed accent": ("ju\u0308rgen", "j\u00fcrgen"),
}
DISTINCT = [
    ("anna", "anne"),
    ("alia", "alla"),
    ("m\u00fcller", "muller"),
    ("\u0430\u0434\u0430", "ada"),
    ("ops1", "ops2"),
]
UNCLEAR = {
    "zero width": "ot\u200bto",
    "soft hyphen": "ot\u00adto",
    "right to left": "otto\u202e",
    "control": "ot\x07to",
    "joiner": "ot\u034fto",
    "variation selector": "otto\ufe0f",
    "Hangul filler": "otto\u3164",
    "private use": "otto\ue000",
    "no-break space": "otto\u00a0b",
    "two spaces": "otto  b",
    "space at the end": "otto ",
    "one Cyrillic letter": "\u043etto",
    "one Greek letter": "ann\u03b1",
}
CLEAR = [
    *("otto", "o'neil", "otto.b+x@example.com", "Release manager", "m\u00fcller", "\u043e\u043b\u044c\u0433\u0430"),
    *("\u0438\u0432\u0430\u043d@example.com", "\u65e5\u672c\u30ab\u30ca", "\u0645\u062d\u0645\u062f"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=ALIKE)
def test_names_that_can_be_taken_for_each_other_share_a_key(one: str, other: str) -> None:
    assert not account_names.keys(one).isdisjoint(account_names.keys(other))


@pytest.mark.parametrize(("one", "other"), DISTINCT)
def test_names_that_differ_to_the_eye_share_none(one: str, other: str) -> None:
    assert account_names.keys(one).isdisjoint(account_names.keys(other))


@pytest.mark.parametrize("name", UNCLEAR.values(), ids=UNCLEAR)
def test_a_name_that_cannot_be_read_is_unclear(name: str) -> None:
    assert not account_names.is_clear(name)


@pytest.mark.parametrize("name", CLEAR)
def test_ordinary_names_of_any_language_are_clear(name: str) -> None:
    assert account_names.is_clear(name)


@pytest.mark.parametrize("name", ["Viewer", "\u0475iewer", "vi\u200bewer"])
def test_a_new_person_with_such_a_name_is_refused(admin_user: User, viewer: User, name: str) -> None:
    code = "person.name_taken" if name == "Viewer" else "person.name_unclear"
    with refused(code):
        accounts.save_person(User(username=name), groups=[], by=by(admin_user))
    assert not User.objects.filter(username=name).exists()
    assert AuditEntry.objects.latest("sequence").after["refused"]["code"] == code


def test_so_is_a_new_name_of_an_old_person_but_not_another_change(
    admin_user: User, viewer: User, stranger: User
) -> None:
    stranger.username = "Viewer"
    with refused("person.name_taken"):
        accounts.save_person(stranger, groups=[], by=by(admin_user))
    # An account from before the rule can be disabled without a new name.
    User.objects.filter(pk=stranger.pk).update(username="VIEWER")
    stranger.refresh_from_db()
    stranger.is_active = False
    accounts.save_person(stranger, groups=[], by=by(admin_user))
    # The case of one's own name can change.
    viewer.username = "vieweR2"
    accounts.save_person(viewer, groups=[], by=by(admin_user))
    viewer.username = "Viewer2"
    accounts.save_person(viewer, groups=[], by=by(admin_user))


@pytest.mark.parametrize(
    ("name", "code"), [("approver", "person.name_taken"), ("\u0410pprover", "person.name_unclear")]
)
def test_a_group_with_such_a_name_is_refused(db: None, name: str, code: str) -> None:
    with refused(code):
        accounts.save_group(Group(name=name), permissions=[], by=Actor.system())


def test_the_page_shows_why_a_name_is_refused(admin_user: User, viewer: User) -> None:
    client = Client()
    client.force_login(admin_user)
    # Full width is normalized by Django's own form, so this is a name of look-alikes.
    values = {"username": "vi\u0435wer", "usable_password": "false", "is_staff": "on"}
    answer = client.post(reverse("admin:auth_user_add"), values, follow=True)
    assert refusal_codes(answer) == {"person.name_unclear"}
    answer = client.post(reverse("admin:auth_group_add"), {"name": "OPERATOR"}, follow=True)
    assert refusal_codes(answer) == {"person.name_taken"}
