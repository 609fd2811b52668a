"""Tokens of programs: created once, checked at each use, ended for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import listings, requests
from runs.access.decisions import decide
from runs.actors import Actor, Kind
from runs.governance import rule_changes, service_accounts, token_limits, token_secrets, tokens
from runs.models import AuditEntry, Policy, ServiceAccount, Token, TokenScope, Verb
from tests.cast import by
from tests.refusals import refused
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
PLACE = "192.0.2.7"


def scope(*verbs: str, **columns: Any) -> TokenScope:
    return TokenScope(verbs=list(verbs), **columns)


def issue(user: User, *scopes: TokenScope, owner: User | None = None, **options: Any) -> tokens.NewToken:
    settings = {"name": "nightly CI", "expires_at": timezone.now() + timedelta(days=30)} | options
    return tokens.issue(user, by=by(owner or user), scopes=list(scopes) or [scope("see", "trigger")], **settings)


def use(text: str, address: str = PLACE) -> Actor:
    return tokens.authenticate(text, address=address, user_agent="curl")


@pytest.fixture
def robot(admin_user: User, requester: User) -> ServiceAccount:
    return service_accounts.create("ci-robot", owner=requester, purpose="deploys", by=by(admin_user))


# What it is -----------------------------------------------------------------------------------------------------------


def test_its_text_has_the_format_that_scanners_look_for(requester: User) -> None:
    new = issue(requester)
    match = token_secrets.FORMAT.fullmatch(new.text)
    assert match
    assert match.group(1) == new.token.key
    assert (
        token_secrets.checksum(new.text[: -token_secrets.CHECKSUM_LENGTH]) == new.text[-token_secrets.CHECKSUM_LENGTH :]
    )


def test_its_secret_is_stored_and_printed_nowhere(requester: User) -> None:
    new = issue(requester)
    secret = new.text.partition(".")[2]
    stored = [*Token.objects.values(), *TokenScope.objects.values(), *AuditEntry.objects.values()]
    assert secret not in repr(stored)
    assert secret not in repr(new)


def test_it_acts_as_its_user_and_is_named_in_the_trail(deployment: Deployment, requester: User) -> None:
    new = issue(requester)
    actor = use(new.text)
    assert (actor.kind, actor.user, actor.token_id, actor.address) == (Kind.TOKEN, requester, new.token.key, PLACE)
    requests.submit(deployment, {"month": "2026-10"}, by=actor)
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.token_id, entry.actor_name, entry.channel) == (new.token.key, "requester", "api")


def test_it_never_gives_more_than_its_scopes_or_its_user_has(
    deployment: Deployment, prod_deployment: Deployment, requester: User, viewer: User
) -> None:
    actor = use(issue(requester, scope("see"), scope("trigger", full_name="other/other")).text)
    assert decide(actor, Verb.SEE, deployment)
    assert decide(actor, Verb.TRIGGER, deployment).code == "access.scope"
    # A scope without an environment leaves out the protected ones, like a grant.
    assert decide(actor, Verb.SEE, prod_deployment).code == "access.scope"
    assert decide(use(issue(viewer, scope("trigger")).text), Verb.TRIGGER, deployment).code == "access.no_grant"


def test_a_condition_on_parameters_counts(deployment: Deployment, requester: User) -> None:
    few = scope("trigger", predicate={"properties": {"rows": {"maximum": 10}}})
    actor = use(issue(requester, scope("see"), few).text)
    assert decide(actor, Verb.TRIGGER, deployment, {"rows": 10})
    assert decide(actor, Verb.TRIGGER, deployment, {"rows": 11}).code == "access.scope"


def test_it_never_administers(deployment: Deployment, admin_user: User) -> None:
    actor = use(issue(admin_user, scope(*token_limits.VERBS)).text)
    assert not actor.is_administrator
    with refused("access.administrators_only"):
        service_accounts.create("other", owner=admin_user, purpose="x", by=actor)


# What it needs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"name": "  "}, "token.name_required"),
        ({"expires_at": timezone.now() - timedelta(hours=1)}, "token.expiry"),
        ({"expires_at": timezone.now() + timedelta(days=400)}, "token.expiry"),
        ({"networks": ["10.0.0.0/8", "the office"]}, "token.networks"),
        ({"networks": [f"10.0.0.{number}" for number in range(30)]}, "token.networks"),
    ],
)
def test_what_is_refused(requester: User, options: dict[str, Any], code: str) -> None:
    with refused(code):
        issue(requester, **options)
    assert not Token.objects.exists()


@pytest.mark.parametrize(
    ("scopes", "code"),
    [
        ([], "token.scope"),
        ([scope()], "token.scope"),
        ([scope("see", "fly")], "token.scope"),
        ([scope("break glass")], "token.scope"),
        ([scope("trigger", predicate={"type": "nonsense"})], "grant.condition"),
        ([scope("see", predicate={"properties": {"rows": {"maximum": 3}}})], "grant.condition_unbound"),
    ],
)
def test_which_scopes_are_refused(requester: User, scopes: Sequence[TokenScope], code: str) -> None:
    with refused(code):
        tokens.issue(
            requester, by=by(requester), name="x", scopes=scopes, expires_at=timezone.now() + timedelta(days=1)
        )


def test_only_the_person_creates_their_tokens(requester: User, admin_user: User) -> None:
    with refused("token.not_own"):
        issue(requester, owner=admin_user)


def test_a_token_makes_no_tokens(requester: User) -> None:
    new = issue(requester)
    actor = use(new.text)
    for act in (
        lambda: tokens.rotate(new.token, by=actor),
        lambda: tokens.revoke(issue(requester).token, by=actor),
        lambda: tokens.issue(
            requester, by=actor, name="x", scopes=[scope("see")], expires_at=timezone.now() + timedelta(days=1)
        ),
    ):
        with refused("token.interactive"):
            act()


@pytest.mark.parametrize(
    ("policy", "scopes", "days"),
    [
        ({"full_name": ""}, [scope("see")], 7),
        ({"flow_name": "monthly"}, [scope("see", full_name="monthly/monthly")], 7),
        ({"full_name": "monthly/monthly"}, [scope("see", flow_name="monthly")], 7),
        ({"flow_name": "weekly"}, [scope("see", full_name="monthly/monthly")], 365),
        ({"flow_name": "weekly"}, [scope("see", full_name="monthly/monthly"), scope("see", flow_name="weekly")], 7),
    ],
)
def test_a_policy_limits_the_life_of_a_token_that_reaches_it(
    requester: User, policy: dict[str, str], scopes: list[TokenScope], days: int
) -> None:
    Policy.objects.create(name="short", token_days=7, **policy)
    assert token_limits.longest(scopes) == timedelta(days=days)


def test_a_policy_with_more_days_than_a_token_has_limits_nothing(requester: User) -> None:
    Policy.objects.create(name="long", token_days=2_147_483_647)
    assert token_limits.longest([scope("see")]) == token_limits.LONGEST


def test_a_policy_of_a_protected_environment_limits_what_names_it(dev: Environment, prod: Environment) -> None:
    Policy.objects.create(name="short", token_days=7, environment=prod)
    assert token_limits.longest([scope("see"), scope("see", environment=dev)]) == token_limits.LONGEST
    assert token_limits.longest([scope("see", environment=prod)]) == timedelta(days=7)


# When it is not accepted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "portal_", "x", "portal_000000000000." + "0" * 46, "portal_ä" + "0" * 58])
def test_what_is_no_token(text: str) -> None:
    with refused("token.invalid"):
        use(text)


def test_another_secret_is_not_accepted(requester: User) -> None:
    one, other = issue(requester), issue(requester)
    with refused("token.invalid"):
        use(f"{one.text.partition('.')[0]}.{other.text.partition('.')[2]}")


def test_an_expired_token_is_not_accepted(requester: User, later: Later) -> None:
    new = issue(requester, expires_at=timezone.now() + timedelta(hours=1))
    use(new.text)
    later(timedelta(hours=1))
    with refused("token.expired"):
        use(new.text)


def test_it_is_accepted_from_its_networks_only(requester: User) -> None:
    new = issue(requester, networks=["192.0.2.0/24", "2001:db8::1"])
    assert new.token.networks == ["192.0.2.0/24", "2001:db8::1/128"]
    use(new.text)
    use(new.text, "2001:db8::1")
    for address in ("198.51.100.1", "2001:db8::2", "", "unknown"):
        with refused("token.network"):
            use(new.text, address)


def test_a_disabled_account_has_no_tokens(requester: User) -> None:
    new = issue(requester)
    User.objects.filter(pk=requester.pk).update(is_active=False)
    with refused("token.user_inactive"):
        use(new.text)


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": timezone.now() + timedelta(days=3000)},
        {"networks": []},
        {"user": "viewer"},
        {"digest": ""},
    ],
)
def test_a_token_that_is_changed_in_the_database_opens_nothing(
    requester: User, viewer: User, change: dict[str, Any]
) -> None:
    new = issue(requester, networks=["192.0.2.0/24"])
    Token.objects.filter(pk=new.token.pk).update(**{k: viewer if v == "viewer" else v for k, v in change.items()})
    with refused("token.invalid"):
        use(new.text)


def test_a_scope_that_is_changed_in_the_database_opens_nothing(requester: User) -> None:
    new = issue(requester, scope("see"))
    TokenScope.objects.filter(token=new.token).update(verbs=["see", "trigger"])
    with refused("token.invalid"):
        use(new.text)
    TokenScope.objects.filter(token=new.token).update(verbs=["see"])
    use(new.text)
    TokenScope.objects.create(token=new.token, verbs=["trigger"])
    with refused("token.invalid"):
        use(new.text)


def test_its_last_use_is_stored_once_a_minute(requester: User, later: Later) -> None:
    new = issue(requester)
    use(new.text)
    first = Token.objects.get().last_used_at
    use(new.text, "192.0.2.8")
    assert (Token.objects.get().last_used_at, Token.objects.get().last_used_address) == (first, PLACE)
    later(timedelta(seconds=61))
    use(new.text, "192.0.2.8")
    assert Token.objects.get().last_used_address == "192.0.2.8"


# Peppers --------------------------------------------------------------------------------------------------------------


def test_a_token_moves_to_the_newest_pepper_when_it_is_used(requester: User, settings: Any) -> None:
    used, unused = issue(requester), issue(requester)
    settings.TOKEN_PEPPERS = {**settings.TOKEN_PEPPERS, 2: "a newer one"}
    use(used.text)
    assert Token.objects.get(pk=used.token.pk).pepper == 2
    settings.TOKEN_PEPPERS = {2: "a newer one"}
    use(used.text)
    with refused("token.invalid"):
        use(unused.text)


# The end --------------------------------------------------------------------------------------------------------------


def test_a_revoked_token_cannot_be_made_valid_again(requester: User) -> None:
    new = issue(requester)
    tokens.revoke(new.token, by=by(requester), reason="leaked")
    with refused("token.invalid"):
        use(new.text)
    Token.objects.update(revoked_at=None)
    with refused("token.invalid"):
        use(new.text)
    with refused("token.revoked"):
        tokens.revoke(new.token, by=by(requester))


def test_who_can_revoke(requester: User, viewer: User, admin_user: User, robot: ServiceAccount) -> None:
    of_person, of_robot = issue(requester).token, issue(robot.user, owner=requester).token
    for token in (of_person, of_robot):
        with refused("token.not_own"):
            tokens.revoke(token, by=by(viewer))
    tokens.revoke(of_person, by=by(admin_user))
    tokens.revoke(of_robot, by=by(requester))
    assert not Token.objects.filter(tokens.active()).exists()


def test_a_replaced_token_is_valid_for_the_overlap(requester: User, later: Later) -> None:
    old = issue(requester, scope("see", flow_name="monthly"), networks=["192.0.2.0/24"])
    new = tokens.rotate(old.token, by=by(requester), overlap=timedelta(hours=2))
    assert (new.token.name, new.token.networks, new.token.replaces) == (old.token.name, old.token.networks, old.token)
    assert [str(each) for each in new.token.scopes.all()] == [str(each) for each in old.token.scopes.all()]
    later(timedelta(hours=2))
    use(new.text)
    with refused("token.revoked"):
        use(old.text)


def test_a_token_is_replaced_once(requester: User) -> None:
    old = issue(requester)
    new = tokens.rotate(old.token, by=by(requester), overlap=timedelta(hours=2))
    with refused("token.revoked"):
        tokens.rotate(old.token, by=by(requester))
    assert tokens.rotate(new.token, by=by(requester)).token.replaces == new.token


def test_an_old_token_cannot_be_replaced_to_live_longer(requester: User, later: Later) -> None:
    old = issue(requester, expires_at=timezone.now() + timedelta(days=300))
    Policy.objects.create(name="short", token_days=7)
    new = tokens.rotate(old.token, by=by(requester))
    assert new.token.expires_at <= timezone.now() + timedelta(days=7)
    later(timedelta(days=8))
    with refused("token.revoked"):
        tokens.rotate(old.token, by=by(requester))


def test_whoever_finds_a_token_can_end_it(requester: User) -> None:
    new = issue(requester)
    assert not tokens.revoke_found("portal_000000000000." + "0" * 46, address=PLACE)
    assert tokens.revoke_found(new.text, address=PLACE)
    assert not tokens.revoke_found(new.text, address=PLACE)
    entry = AuditEntry.objects.get(verb="token.revoke")
    assert (entry.token_id, entry.address) == (new.token.key, PLACE)


def test_unused_tokens_are_found(requester: User, later: Later) -> None:
    used, unused = issue(requester), issue(requester)
    later(timedelta(days=10))
    use(used.text)
    assert [each.pk for each in Token.objects.filter(tokens.unused_for(7))] == [unused.token.pk]


def test_who_sees_which_tokens(
    requester: User, viewer: User, admin_user: User, auditor: User, robot: ServiceAccount
) -> None:
    own, robots, other = issue(requester), issue(robot.user, owner=requester), issue(viewer)
    assert set(tokens.visible_to(by(requester))) == {own.token, robots.token}
    assert set(tokens.visible_to(by(viewer))) == {other.token}
    for reader in (admin_user, auditor):
        assert tokens.visible_to(by(reader)).count() == 3
    assert set(tokens.visible_to(use(own.text))) == {own.token, robots.token}


def test_a_scope_limits_what_an_auditor_s_token_sees(auditor: User, viewer: User) -> None:
    issue(viewer)
    own = issue(auditor)
    assert set(tokens.visible_to(use(own.text))) == {own.token}
    assert not replace(use(own.text), scope=()).is_administrator


# The audit trail


def test_a_token_reads_the_whole_trail_if_its_person_can(auditor: User, requester: User, dev: Environment) -> None:
    before = AuditEntry.objects.count()
    with refused("token.trail"):
        issue(requester, reads_trail=True)
    with_trail = issue(auditor, scope("see", environment=dev), reads_trail=True)
    without = issue(auditor, scope("see", environment=dev))
    whole, own = use(with_trail.text), use(without.text)
    assert listings.AUDIT.rows(whole).count() == AuditEntry.objects.count() > before
    assert not listings.AUDIT.rows(own).exists()
    # Rules and people stay closed: it reads the trail and nothing else.
    assert not rule_changes.oversees(whole)
    # Without the role it counts no more, and what is written into the database never did.
    auditor.groups.clear()
    whole = use(with_trail.text)
    assert not listings.AUDIT.rows(whole).exists()
    Token.objects.filter(pk=without.token.pk).update(reads_trail=True)
    with refused("token.invalid"):
        use(without.text)


def test_a_replacement_reads_the_trail_too(auditor: User) -> None:
    new = issue(auditor, reads_trail=True)
    assert tokens.rotate(new.token, by=by(auditor)).token.reads_trail
    assert AuditEntry.objects.get(verb="token.issue").after["reads_trail"] is True
