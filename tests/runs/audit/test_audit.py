"""The audit trail is complete, and every rewrite is detected."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.utils import timezone

from flows.models import Deployment
from flows.parameters import Invalid
from runs import audit, requests
from runs.access.decisions import Forbidden
from runs.actors import Actor, Channel, Kind
from runs.audit import chain, signatures
from runs.errors import Refused
from runs.models import AuditEntry
from runs.models.audit import COLOURS
from runs.models.audit_verbs import VERBS
from tests.cast import by
from tests.tampering import found, outcome_of, refused

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = Actor.system("test")

pytestmark = pytest.mark.django_db


def note(name: str = "thing", **columns: Any) -> AuditEntry:
    with audit.act("grant.give", None, by=SYSTEM, subject_kind="grant", subject_name=name) as act:
        act.after = columns
    return AuditEntry.objects.latest("sequence")


@pytest.fixture
def five() -> list[AuditEntry]:
    return [note(f"thing {number}", number=number) for number in range(1, 6)]


def as_database_superuser(statement: str, *values: Any) -> None:
    """Does what no role of the portal can: changes rows behind the triggers' back."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE runs_auditentry DISABLE TRIGGER USER")
        cursor.execute(statement, values)
        cursor.execute("ALTER TABLE runs_auditentry ENABLE TRIGGER USER")


# Append-only


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("update every entry", "UPDATE runs_auditentry SET reason = 'better'"),
        ("delete an entry by SQL", "DELETE FROM runs_auditentry WHERE sequence = 1"),
        ("truncate the trail", "TRUNCATE runs_auditentry"),
    ],
)
def test_the_table_refuses_every_change(five: list[AuditEntry], name: str, statement: str) -> None:
    with connection.cursor() as cursor:
        refused("audit trail", name, lambda: cursor.execute(statement))
    assert AuditEntry.objects.count() == 5


def test_it_has_no_foreign_keys() -> None:
    assert not [field for field in AuditEntry._meta.get_fields() if field.is_relation]


# Broken chains


def test_a_sound_chain_verifies(five: list[AuditEntry]) -> None:
    verification = audit.verify()
    assert verification
    assert (verification.entries, verification.head) == (5, five[-1].digest)


def test_an_empty_trail_verifies() -> None:
    assert audit.verify() == audit.Verification(0, audit.GENESIS)


def test_entries_follow_each_other(five: list[AuditEntry]) -> None:
    assert [entry.sequence for entry in five] == [1, 2, 3, 4, 5]
    assert five[0].previous_digest == audit.GENESIS
    assert all(later.previous_digest == earlier.digest for earlier, later in pairwise(five))
    assert [entry.at for entry in five] == sorted(entry.at for entry in five)


COLUMNS = [
    field.attname
    for field in AuditEntry._meta.concrete_fields
    if field.attname not in {"digest", "sequence", "signature"}
]


@pytest.mark.parametrize("column", COLUMNS)
def test_an_edited_column_is_found(five: list[AuditEntry], column: str) -> None:
    values: dict[str, object] = {
        "before": '{"x": 1}',
        "after": "{}",
        "at": datetime(2020, 1, 1, tzinfo=UTC),
        "transaction": 1,
    }
    new = values.get(column, "x")
    as_database_superuser(f"UPDATE runs_auditentry SET {column} = %s WHERE sequence = 3", new)
    verification = audit.verify()
    assert not verification
    assert verification.entries == 2
    name = "edit the link of an entry" if column == "previous_digest" else "edit a column of an entry"
    assert found(verification) == outcome_of("audit trail", name)


def test_a_deleted_entry_is_found(five: list[AuditEntry]) -> None:
    as_database_superuser("DELETE FROM runs_auditentry WHERE sequence = 3")
    assert found(audit.verify()) == outcome_of("audit trail", "delete an entry")
    assert audit.verify().broken == "#3 is missing: deleted, or never written."


def test_a_deleted_first_entry_is_found(five: list[AuditEntry]) -> None:
    as_database_superuser("DELETE FROM runs_auditentry WHERE sequence = 1")
    assert found(audit.verify()) == outcome_of("audit trail", "delete the first entry")


def test_an_inserted_entry_is_found(five: list[AuditEntry]) -> None:
    columns = ", ".join(name for name in COLUMNS if name != "at")
    as_database_superuser(
        "UPDATE runs_auditentry SET sequence = sequence + 100 WHERE sequence > 2;"
        "UPDATE runs_auditentry SET sequence = sequence - 99 WHERE sequence > 100;"
        f"INSERT INTO runs_auditentry (sequence, at, digest, signature, {columns}) "
        f"SELECT 3, at, digest, signature, {columns} FROM runs_auditentry WHERE sequence = 2"
    )
    assert found(audit.verify()) == outcome_of("audit trail", "insert an entry")


def test_an_entry_dated_before_the_one_before_it_is_found(five: list[AuditEntry]) -> None:
    """With digests that fit: a superuser who has read the code, and a database restored with a wrong clock."""
    entry = five[-1]
    entry.at -= timedelta(days=400)
    entry.digest = audit.digest(entry)
    as_database_superuser(
        "UPDATE runs_auditentry SET at = %s, digest = %s WHERE sequence = %s", entry.at, entry.digest, entry.sequence
    )
    assert "dated before" in audit.verify().broken


def test_swapped_entries_are_found(five: list[AuditEntry]) -> None:
    as_database_superuser(
        "UPDATE runs_auditentry SET sequence = 99 WHERE sequence = 2;"
        "UPDATE runs_auditentry SET sequence = 2 WHERE sequence = 3;"
        "UPDATE runs_auditentry SET sequence = 3 WHERE sequence = 99"
    )
    assert found(audit.verify()) == outcome_of("audit trail", "swap two entries")


def forge(entry: AuditEntry, *, has_key: bool = False) -> None:
    """Write an entry anew with digests that fit, as somebody who has read our code would."""
    entry.digest = audit.digest(entry)
    if has_key:
        entry.signature = signatures.sign(entry)
    as_database_superuser(
        "UPDATE runs_auditentry SET reason = %s, previous_digest = %s, digest = %s, signature = %s WHERE sequence = %s",
        entry.reason,
        entry.previous_digest,
        entry.digest,
        entry.signature,
        entry.sequence,
    )


def test_an_edit_with_a_fitting_digest_has_no_signature(five: list[AuditEntry]) -> None:
    five[2].reason = "better"
    forge(five[2])
    assert found(audit.verify()) == outcome_of("audit trail", "edit an entry with a fitting digest")
    assert audit.verify().broken == "#3 is not signed with a key of the portal."


def test_an_edit_with_a_fitting_digest_and_the_key_breaks_the_next_link(five: list[AuditEntry]) -> None:
    five[2].reason = "better"
    forge(five[2], has_key=True)
    assert found(audit.verify()) == outcome_of("audit trail", "edit an entry with a fitting digest and the key")
    assert audit.verify().broken == "#4 does not follow from the entry before it."


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("sign an entry with another key", "another key"),
        ("put the signature of another entry on one", "another entry"),
        ("sign an entry with another key", ""),
        ("sign an entry with another key", ":"),
    ],
)
def test_a_signature_that_does_not_fit_is_found(
    five: list[AuditEntry], settings: Any, name: str, signature: str
) -> None:
    ours = settings.AUDIT_KEYS
    if signature == "another key":
        settings.AUDIT_KEYS = ["whoever reads this can sign with it"]
        signature = signatures.sign(five[2])
        settings.AUDIT_KEYS = ours
    elif signature == "another entry":
        signature = five[1].signature
    as_database_superuser("UPDATE runs_auditentry SET signature = %s WHERE sequence = 3", signature)
    assert found(audit.verify()) == outcome_of("audit trail", name)


def test_entries_signed_with_a_replaced_key_verify_until_it_is_removed(five: list[AuditEntry], settings: Any) -> None:
    old, new = settings.AUDIT_KEYS[0], "the audit key of next year, with 48 characters"
    settings.AUDIT_KEYS = [new, old]
    assert note("six").signature.partition(":")[0] != five[-1].signature.partition(":")[0]
    assert audit.verify().entries == 6
    settings.AUDIT_KEYS = [new]
    assert audit.verify().broken == "#1 is not signed with a key of the portal."


def test_an_old_key_signs_nothing_that_counts_once_it_was_replaced(five: list[AuditEntry], settings: Any) -> None:
    """Whoever steals a key that was replaced can sign with it, but only what is dated before."""
    old, new = settings.AUDIT_KEYS[0], "the audit key of next year, with 48 characters"
    settings.AUDIT_KEYS = [new, old]
    note("six")
    settings.AUDIT_KEYS = [old]
    note("seven")
    settings.AUDIT_KEYS = [new, old]
    assert audit.verify().entries == 7, "a process that was not restarted yet"
    seven = AuditEntry.objects.get(sequence=7)
    seven.at += timedelta(days=2)
    seven.digest = audit.digest(seven)
    settings.AUDIT_KEYS = [old]
    signature = signatures.sign(seven)
    settings.AUDIT_KEYS = [new, old]
    as_database_superuser(
        "UPDATE runs_auditentry SET at = %s, digest = %s, signature = %s WHERE sequence = 7",
        *(seven.at, seven.digest, signature),
    )
    assert audit.verify().broken == "#7 is signed with a key that was replaced before."


@pytest.mark.parametrize("has_key", [False, True])
def test_a_tail_rewritten_whole_shows_by_its_signatures_or_against_a_head_noted_earlier(
    five: list[AuditEntry], has_key: bool
) -> None:
    noted, previous = audit.verify().head, five[2].digest
    for entry in five[3:]:
        entry.reason, entry.previous_digest = "better", previous
        forge(entry, has_key=has_key)
        previous = entry.digest
    assert bool(audit.verify()) is has_key, "with the key, nothing inside the trail can show it"
    verification = audit.verify(known_head=noted)
    names = {False: "rewrite the tail with fitting digests", True: "rewrite the tail with fitting digests and the key"}
    assert found(verification, noted=noted) == outcome_of("audit trail", names[has_key])


def test_a_tail_that_was_cut_off_shows_against_a_head_noted_earlier(five: list[AuditEntry]) -> None:
    noted = audit.verify().head
    as_database_superuser("DELETE FROM runs_auditentry WHERE sequence > 3")
    assert audit.verify()
    verification = audit.verify(known_head=noted)
    assert not verification
    assert found(verification, noted=noted) == outcome_of("audit trail", "cut off the tail")


def test_a_trail_that_was_emptied_and_begun_anew_shows_against_a_head_noted_earlier(five: list[AuditEntry]) -> None:
    noted = audit.verify().head
    for table in ("runs_auditentry", "runs_auditentry_from_1"):
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    as_database_superuser("TRUNCATE runs_auditentry")
    assert note("anew").sequence == 1
    assert audit.verify(), "nothing inside the trail can show it"
    verification = audit.verify(known_head=noted)
    assert found(verification, noted=noted) == outcome_of("audit trail", "empty the trail and begin again")


def test_every_entry_counts_whatever_it_holds() -> None:
    """What COPY writes with a backslash, and what one encoding of numbers writes otherwise than the other."""
    odd = ["tab\t", "line\n", "back\\slash", "\\N", "\\.", "\x0b\x0c\x08\x01", '"quoted"', "\u2028", "a\rb"]
    for text in odd:
        with audit.act("grant.give", None, by=SYSTEM, reason=text, subject_name=text) as act:
            act.after = {"text": text, text: [1e16, 1e-7, 2**70, -0.0, 12345678901234567890]}
    verification = audit.verify()
    assert (verification.broken, verification.entries) == ("", len(odd))
    for number in range(1, len(odd) + 1):
        as_database_superuser("UPDATE runs_auditentry SET reason = reason || 'x' WHERE sequence = %s", number)
        assert audit.verify().broken == f"#{number} was changed after it was written."
        expected = outcome_of("audit trail", "edit an entry with odd text")
        assert found(audit.verify()) == expected.replace("#1 ", f"#{number} ")
        as_database_superuser(
            "UPDATE runs_auditentry SET reason = left(reason, length(reason) - 1) WHERE sequence = %s", number
        )


def test_a_column_moved_into_another_is_found() -> None:
    with audit.act("grant.give", None, by=SYSTEM, reason='","subject_name":"x', subject_name="y"):
        pass
    as_database_superuser("UPDATE runs_auditentry SET reason = '', ticket = reason")
    assert found(audit.verify()) == outcome_of("audit trail", "move a column into another")


def test_a_head_noted_earlier_is_found_again_in_a_longer_trail(five: list[AuditEntry]) -> None:
    assert audit.verify(known_head=five[1].digest)


def test_a_part_of_the_chain_can_be_walked(five: list[AuditEntry]) -> None:
    verification = audit.verify(up_to=4, at_most=2)
    assert (verification.first, verification.last, verification.head) == (3, 4, five[3].digest)
    as_database_superuser("UPDATE runs_auditentry SET reason = 'better' WHERE sequence = 2")
    assert audit.verify(up_to=4, at_most=2), "what lies before is not looked at"
    assert not audit.verify(up_to=4, at_most=3)


# The command


def test_the_command_says_how_many_and_where_the_chain_ends(five: list[AuditEntry], capsys: Any) -> None:
    call_command("verify_audit")
    assert capsys.readouterr().out == f"5 entries, intact. Head: {five[-1].digest}\n"


def test_the_command_names_the_break_and_fails(five: list[AuditEntry]) -> None:
    as_database_superuser("UPDATE runs_auditentry SET outcome = 'done ' WHERE sequence = 2")
    with pytest.raises(CommandError, match=r"After 1 .*#2 ") as caught:
        call_command("verify_audit")
    assert caught.value.returncode == 1


def test_an_exported_head_finds_a_cut_tail(five: list[AuditEntry], tmp_path: Path) -> None:
    file = tmp_path / "head.json"
    call_command("verify_audit", export=file)
    call_command("verify_audit", head=str(file))
    call_command("verify_audit", head=five[-1].digest)
    as_database_superuser("DELETE FROM runs_auditentry WHERE sequence = 5")
    with pytest.raises(CommandError, match="cut off or rewritten"):
        call_command("verify_audit", head=str(file))


def test_an_exported_head_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "head.json"
    file.write_text("the witness")
    with pytest.raises(CommandError, match="could not be written"):
        call_command("verify_audit", export=file)
    assert file.read_text() == "the witness"


def test_a_file_of_keys_stands_in_for_the_setting(five: list[AuditEntry], tmp_path: Path, settings: Any) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{'x' * 40}, {settings.AUDIT_KEYS[0]}\n")
    settings.AUDIT_KEYS = ["a key of another portal, 32 letters"]
    with pytest.raises(CommandError, match="#1 is not signed"):
        call_command("verify_audit")
    call_command("verify_audit", keys=file)
    for wrong in (tmp_path / "missing", tmp_path):
        with pytest.raises(CommandError, match="cannot be read"):
            call_command("verify_audit", keys=wrong)
    file.write_text("\n")
    with pytest.raises(CommandError, match="holds no audit key"):
        call_command("verify_audit", keys=file)


def test_a_head_that_is_neither_digest_nor_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(CommandError, match="neither a digest nor a readable file"):
        call_command("verify_audit", head="abc")
    with pytest.raises(CommandError, match="was not written by"):
        call_command("verify_audit", head=str(tmp_path / "other.json"))


# Content of entries


AWKWARD: list[Any] = [
    {"float": [0.1, 1.0, 1e16, 1e22, 1e-7, -0.0, 5e-324, 1.7976931348623157e308]},
    {"not a number": [float("nan"), float("inf"), float("-inf")]},
    {"integer": [2**63, -(2**200), 0, True, None]},
    {1: "one", None: "none", 2.5: "two and a half"},
    {"text": ["\x00", "a\ud800b", "\U0001f600", "\\u0000", "\\\x00", "\u2028", "", " "]},
    {"\x00\udfff": {"\ud83d": []}},
    {"when": timezone.now(), "day": timezone.now().date()},
    {"lists": [(), (1, 2), [[[]]], {3}], "object": object, "nested": {"b": 1, "a": {}}},
]


@pytest.mark.parametrize("values", AWKWARD)
def test_whatever_a_verb_notes_is_written_and_verifies(values: dict[Any, Any]) -> None:
    with audit.act("grant.give", None, by=SYSTEM) as act:
        act.before = act.after = values
    assert AuditEntry.objects.count() == 1
    assert audit.verify(), audit.verify().broken


def test_whatever_somebody_types_is_written_and_verifies() -> None:
    awkward = "a\x00b\ud800c" * 300
    actor = Actor(Kind.TOKEN, awkward, awkward, Channel.API, None, awkward, awkward, awkward)
    with pytest.raises(Refused), audit.act("x" * 99, None, by=actor, reason=awkward, subject_name=awkward):
        raise Refused("text.unstorable", awkward)
    entry = AuditEntry.objects.get()
    assert entry.reason == "a\ufffdb\ufffdc" * 300
    assert audit.verify()


def test_a_column_added_later_leaves_older_digests_as_they_are(
    five: list[AuditEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "CHAINED", [*chain.CHAINED, "weather"])
    monkeypatch.setattr(AuditEntry, "weather", "", raising=False)
    assert [audit.digest(entry) for entry in AuditEntry.objects.order_by("sequence")] == [each.digest for each in five]


def test_a_refusal_stays_though_its_transaction_is_rolled_back(deployment: Deployment, viewer: User) -> None:
    with pytest.raises(Forbidden):
        requests.submit(deployment, {"month": "2026-10"}, by=by(viewer), reason="just trying")
    entry = AuditEntry.objects.get(actor_name="viewer")
    assert (entry.verb, entry.outcome, entry.reason) == ("request.submit", "refused", "just trying")
    assert "no grant" in entry.message
    assert entry.after["decision"]["code"] == "access.no_grant"


def test_an_error_of_ours_is_recorded_as_failed_without_its_details() -> None:
    with pytest.raises(ZeroDivisionError), audit.act("grant.give", None, by=SYSTEM) as act:
        act.after = {"rows": 1 / 0}
    entry = AuditEntry.objects.get()
    assert entry.outcome == "failed"
    assert entry.message.startswith("ZeroDivisionError in the portal")


def test_a_database_error_is_recorded_too() -> None:
    with pytest.raises(DatabaseError), audit.act("grant.give", None, by=SYSTEM), connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column")
    assert AuditEntry.objects.get().outcome == "failed"


@pytest.mark.parametrize("value", ["hunter22", "hunter22" * 2000, 5, ["hunter22"]])
def test_a_secret_value_never_gets_into_the_trail(deployment: Deployment, requester: User, value: Any) -> None:
    schema = json.loads(json.dumps(deployment.parameter_schema))
    schema["properties"]["token"] |= {"maxLength": 10, "pattern": "^x"}
    Deployment.objects.filter(pk=deployment.pk).update(parameter_schema=schema)
    deployment.refresh_from_db()
    with pytest.raises(Invalid):
        requests.submit(deployment, {"month": "2026-10", "token": value}, by=by(requester))
    assert "hunter22" not in repr(AuditEntry.objects.values())
    refusal = AuditEntry.objects.get(verb="request.submit").after["refused"]
    assert refusal["code"] == "parameters.invalid"
    assert {error["field"] for error in refusal["data"]["errors"]} == {"token"}


def written_verbs() -> set[str]:
    """The verbs that the code gives to `audit.act`, read from the code."""
    verbs: set[str] = set()
    for room in ("flows", "runs", "portal"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in {"audit.act", "act"} and node.args:
                    verbs |= {
                        each.value
                        for each in ast.walk(node.args[0])
                        if isinstance(each, ast.Constant) and isinstance(each.value, str)
                    }
    return verbs


def test_every_verb_that_is_written_has_a_label() -> None:
    unlabelled = written_verbs() - VERBS.keys()
    assert not unlabelled, f"runs/models/audit_verbs.py: VERBS has no label for {', '.join(sorted(unlabelled))}."


def test_every_outcome_has_a_colour() -> None:
    assert set(COLOURS) == set(AuditEntry.Outcome.values)
