"""Single sign-on: whom a provider may sign in here, and what of its answers is not believed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment
from portal.auth import kept_form, single_sign_on
from portal.auth.browser_sessions import RECENTLY
from portal.auth.sign_in_again import path_through
from portal.auth.throttle import ADDRESS
from portal.models import BrowserSession, FailedAttempts
from runs.models import AuditEntry, ServiceAccount, SignOnIdentity
from tests.fakes import issuer as fakes
from tests.fakes.issuer import Issuer, new_key, reply
from tests.portal import sign_ons
from tests.portal.sign_ons import NAME, come_back, consent, leave, query_of, someone

pytestmark = pytest.mark.django_db

EMAIL, SUBJECT = "otto@portal.example", "4711"
Login = Callable[[User], Client]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with sign_ons.provider() as found:
        yield found


@pytest.fixture(autouse=True)
def sso(issuer: str, settings: Any) -> None:
    sign_ons.use(settings, issuer)
    someone(issuer, SUBJECT, email=EMAIL, email_verified=True)


@pytest.fixture(autouse=True)
def otto(db: None) -> User:
    person = User.objects.create_user("otto", EMAIL, is_staff=True)
    person.set_unusable_password()
    person.save()
    return person


def sign_on(client: Client | None = None, subject: str = SUBJECT, **query: Any) -> Any:
    client = client or Client()
    return come_back(client, consent(leave(client, **query), subject))


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def refused(client: Client, answer: Any, code: str, status: int = 403) -> AuditEntry:
    """Check that nobody was signed in, and that the page and an entry say why; return the entry."""
    page = answer.content.decode()
    assert (answer.status_code, f'data-code="{code}"' in page) == (status, True), page
    assert not is_signed_in(client)
    entry = AuditEntry.objects.filter(verb="session.sign_in").latest("sequence")
    assert entry.outcome == "refused"
    return entry


# Whom it signs in -----------------------------------------------------------------------------------------------------


def test_the_sign_in_page_leads_to_the_provider(issuer: str) -> None:
    page = Client().get(reverse("admin:login"), {"next": "/admin/runs/run/"}).content.decode()
    assert f"Sign in with {NAME}" in page
    address = leave(Client(), next="/admin/runs/run/")
    assert address.startswith(f"{issuer}/oauth2/authorize?")
    asked = query_of(address)
    assert asked["redirect_uri"] == f"http://testserver{reverse('sign_on_return')}"
    assert (asked["code_challenge_method"], len(asked["nonce"]) >= 20) == ("S256", True)
    assert not {"prompt", "max_age"} & asked.keys()


def test_who_has_the_address_is_signed_in_and_stays_connected(issuer: str, otto: User) -> None:
    client = Client()
    answer = sign_on(client, next="/admin/profile/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/profile/")
    assert client.get("/admin/profile/").status_code == 200
    connected, signed_in = AuditEntry.objects.order_by("sequence")
    assert (connected.verb, connected.actor_name, connected.subject_name) == ("person.connect_sign_on", "otto", "otto")
    assert connected.after == {"issuer": issuer, "subject": SUBJECT, "email": EMAIL}
    assert (signed_in.verb, signed_in.actor_id, signed_in.after) == (
        "session.sign_in",
        str(otto.pk),
        {"method": NAME},
    )
    session = BrowserSession.objects.get(user=otto)
    assert session.signed_in_at is not None
    # Whatever becomes of the address, the identity stays the same.
    User.objects.filter(pk=otto.pk).update(email="")
    someone(issuer, SUBJECT, email="renamed@portal.example", email_verified=True)
    assert sign_on()["Location"] == reverse("admin:index")
    assert [entry.verb for entry in AuditEntry.objects.order_by("sequence")][2:] == ["session.sign_in"]


def test_the_address_is_compared_without_case(issuer: str, otto: User) -> None:
    someone(issuer, SUBJECT, email=EMAIL.upper(), email_verified=True)
    assert sign_on()["Location"] == reverse("admin:index")


def test_a_stranger_who_begins_stores_nothing(client: Client) -> None:
    leave(client)
    assert not BrowserSession.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("elsewhere", ["https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)"])
def test_it_leads_to_pages_of_the_portal_alone(elsewhere: str) -> None:
    assert sign_on(next=elsewhere)["Location"] == reverse("admin:index")


def test_the_address_that_the_provider_has_to_know_is_that_of_the_portal(settings: Any) -> None:
    settings.PUBLIC_URL = "https://portal.example/"
    asked = query_of(leave(Client()))
    assert asked["redirect_uri"] == f"https://portal.example{reverse('sign_on_return')}"


def test_without_a_provider_there_is_no_button_and_no_page(settings: Any) -> None:
    settings.SSO_ISSUER = ""
    assert "Sign in with" not in Client().get(reverse("admin:login")).content.decode()
    for name in (single_sign_on.START, single_sign_on.RETURN):
        assert Client().get(reverse(name)).status_code == 404


# Whom it does not sign in ---------------------------------------------------------------------------------------------


def test_an_address_that_nobody_verified_opens_nothing(issuer: str, client: Client, settings: Any) -> None:
    for claims in (
        {"email": EMAIL},
        {"email": EMAIL, "email_verified": False},
        {},
        {"email": 7, "email_verified": True},
    ):
        someone(issuer, SUBJECT, **claims)
        refused(client, sign_on(client), "sign_on.no_email")
    # The provider of the settings gives only addresses that are its own.
    settings.SSO_TRUSTS_EMAIL = True
    someone(issuer, SUBJECT, email=EMAIL)
    assert sign_on(client)["Location"] == reverse("admin:index")


def test_an_unknown_address_opens_nothing(issuer: str, client: Client) -> None:
    someone(issuer, "9", email="nobody@portal.example", email_verified=True)
    entry = refused(client, sign_on(client, "9"), "sign_on.unknown")
    assert (entry.actor_name, entry.actor_id) == ("unknown account", "")
    assert "nobody@portal.example" in entry.message
    assert not SignOnIdentity.objects.exists()


def test_of_two_accounts_with_the_address_none_is_opened(client: Client) -> None:
    User.objects.create_user("otto-admin", EMAIL, is_staff=True)
    refused(client, sign_on(client), "sign_on.ambiguous")


def test_a_letter_that_only_looks_alike_is_another_address(issuer: str, client: Client) -> None:
    User.objects.create_user("mike", "mike@portal.example", is_staff=True)
    someone(issuer, "9", email="m\u0131ke@portal.example", email_verified=True)
    answer = sign_on(client, "9")
    assert answer.status_code == 403
    assert not is_signed_in(client)
    assert not SignOnIdentity.objects.exists()


@pytest.mark.parametrize("column", ["is_active", "is_staff"])
@pytest.mark.parametrize("is_connected", [False, True])
def test_a_closed_account_stays_closed(otto: User, client: Client, column: str, is_connected: bool) -> None:
    if is_connected:
        sign_on()
    setattr(otto, column, False)
    otto.save()
    entry = refused(client, sign_on(client), "sign_on.closed")
    assert entry.actor_id == str(otto.pk)
    assert SignOnIdentity.objects.exists() == is_connected


def test_a_service_account_is_nobody(otto: User, client: Client) -> None:
    ServiceAccount.objects.create(user=otto, owner=User.objects.create_user("olga"), purpose="x")
    refused(client, sign_on(client), "sign_on.unknown")


def test_a_second_identity_with_the_address_opens_nothing(issuer: str, client: Client) -> None:
    sign_on()
    someone(issuer, "9", email=EMAIL, email_verified=True)
    refused(client, sign_on(client, "9"), "sign_on.other_identity")
    assert SignOnIdentity.objects.get().subject == SUBJECT


def test_a_password_is_needed_to_connect_an_account_that_has_one(otto: User, client: Client) -> None:
    otto.set_password("correct horse battery staple")
    otto.save()
    entry = refused(client, sign_on(client), "sign_on.has_password")
    assert entry.actor_id == str(otto.pk)
    # Another signed-in user cannot connect it, and an old session cannot either.
    other = Client()
    other.force_login(User.objects.create_user("olga", password="x", is_staff=True))
    assert sign_on(other).status_code == 403
    client.post(reverse("admin:login"), {"username": "otto", "password": "correct horse battery staple"})
    session = client.session
    proven = session["origin"] | {}
    session["origin"] = proven | {"proven_at": None}
    session.save()
    assert sign_on(client).status_code == 403
    assert not SignOnIdentity.objects.exists()
    session["origin"] = proven
    session.save()
    page = client.get(reverse("profile")).content.decode()
    assert f'href="{reverse("sign_on")}?next={reverse("profile")}"' in page
    assert sign_on(client, next=reverse("profile"))["Location"] == reverse("profile")
    assert SignOnIdentity.objects.get().person == otto
    # From then on the identity alone is enough.
    assert sign_on().status_code == 302


def test_who_does_not_consent_is_not_signed_in(client: Client) -> None:
    state = query_of(leave(client))["state"]
    answer = client.get(reverse("sign_on_return"), {"state": state, "error": "access_denied"})
    entry = refused(client, answer, "sign_on.failed")
    assert "access_denied" in answer.content.decode()
    assert entry.after == {"method": NAME}


def test_an_error_is_repeated_only_if_it_is_a_code(client: Client) -> None:
    state = query_of(leave(client))["state"]
    answer = client.get(reverse("sign_on_return"), {"state": state, "error": "Call 555-0199 to confirm"})
    refused(client, answer, "sign_on.failed")
    assert "555" not in answer.content.decode()


# The way back ---------------------------------------------------------------------------------------------------------


def test_only_the_browser_that_left_may_come_back(client: Client) -> None:
    back = consent(leave(client), SUBJECT)
    refused(Client(), come_back(Client(), back), "sign_on.expired")
    other = Client()
    leave(other)
    refused(other, come_back(other, back), "sign_on.expired")
    assert come_back(client, back).status_code == 302


def test_a_way_back_is_used_once(client: Client) -> None:
    back = consent(leave(client), SUBJECT)
    assert come_back(client, back).status_code == 302
    client.logout()
    refused(client, come_back(client, back), "sign_on.expired")


def test_a_way_back_ends(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    back = consent(leave(client), SUBJECT)
    now = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + single_sign_on.VALID_FOR + 1)
    refused(client, come_back(client, back), "sign_on.expired")


def test_a_code_of_another_sign_on_is_refused_by_the_provider(client: Client) -> None:
    stolen = query_of(consent(leave(Client()), SUBJECT))["code"]
    state = query_of(leave(client))["state"]
    refused(client, client.get(reverse("sign_on_return"), {"state": state, "code": stolen}), "sign_on.failed")


def test_guessing_has_to_wait(client: Client) -> None:
    for _ in range(ADDRESS.allowed):
        state = query_of(leave(client))["state"]
        refused(client, client.get(reverse("sign_on_return"), {"state": state, "code": "guess"}), "sign_on.failed")
    back = consent(leave(client), SUBJECT)
    answer = come_back(client, back)
    refused(client, answer, "sign_on.throttled", 429)
    assert int(answer["Retry-After"]) > 0
    # The trail says so once, whatever else comes from there.
    count = AuditEntry.objects.count()
    come_back(client, back)
    FailedAttempts.objects.update(blocked_until=None)
    refused(client, come_back(client, back), "sign_on.expired")
    assert AuditEntry.objects.count() == count


def test_what_was_entered_before_comes_back(prod_deployment: Deployment, otto: User) -> None:
    url, client = reverse("admin:flows_deployment_run", args=[prod_deployment.pk]), Client()
    entered = {kept_form.FILLED_BY: str(otto.pk), "reason": "Month end"}
    page = client.post(url, entered, headers={"Origin": "http://testserver"})
    hidden = {name: page.context[name] for name in ("kept_form", "next")}
    assert all(f'name="{name}" value="{value}"' in page.content.decode() for name, value in hidden.items())
    leaving = client.post(reverse("sign_on"), hidden)
    # Not a redirect, which the policy for forms would forbid.
    assert leaving.status_code == 200
    answer = come_back(client, consent(leaving.context["address"], SUBJECT))
    assert answer["Location"] == url
    assert client.session[kept_form.SESSION_KEY]["fields"]["reason"] == ["Month end"]
    assert kept_form.CARRIED not in client.session


def test_nothing_is_kept_that_the_portal_has_not_sealed(client: Client) -> None:
    client.post(reverse("sign_on"), {"kept_form": "x" * 1000})
    assert not BrowserSession.objects.exists()


# Signing in again -----------------------------------------------------------------------------------------------------


def test_a_link_to_a_decision_asks_the_provider_again(otto: User) -> None:
    client = Client()
    target = reverse("admin:runs_runrequest_changelist")
    sign_on(client)
    session = client.session
    session["origin"] |= {"proven_at": None}
    session.save()
    page = client.get(path_through(target))
    assert page.status_code == 200
    assert f'href="{reverse("sign_on")}?next={target}&amp;again=1"' in page.content.decode()
    address = leave(client, next=target, again=1)
    asked = query_of(address)
    assert (asked["prompt"], int(asked["max_age"])) == ("login", RECENTLY.total_seconds())
    assert come_back(client, consent(address, SUBJECT))["Location"] == target
    assert client.get(path_through(target))["Location"] == target


# A provider that lies -------------------------------------------------------------------------------------------------


@pytest.fixture
def liar(settings: Any) -> Iterator[Issuer]:
    """A provider of which a test decides what it says."""
    with fakes.serving() as found:
        describe(found)
        sign_ons.use(settings, found.url)
        yield found


def describe(liar: Issuer, **changes: Any) -> None:
    described = {
        "issuer": liar.url,
        "jwks_uri": f"{liar.url}/keys",
        "authorization_endpoint": f"{liar.url}/authorize",
        "token_endpoint": f"{liar.url}/token",
        "id_token_signing_alg_values_supported": ["RS256"],
        **changes,
    }
    liar.answers["/.well-known/openid-configuration"] = reply(described)


def told(liar: Issuer, client: Client, query: dict[str, Any] | None = None, **changes: Any) -> Any:
    """Sign in with an ID token that is right but for the changes."""
    asked = query_of(leave(client, **(query or {})))
    claims = {"sub": SUBJECT, "aud": "portal", "nonce": asked["nonce"], "email": EMAIL, "email_verified": True}
    token = liar.token(claims, **changes)
    liar.answers["/token"] = reply({"access_token": "a", "token_type": "Bearer", "id_token": token})
    return client.get(reverse("sign_on_return"), {"state": asked["state"], "code": "c"})


def test_what_it_says_is_believed_if_all_of_it_is_right(liar: Issuer, client: Client) -> None:
    assert told(liar, client)["Location"] == reverse("admin:index")


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "of-another-sign-on"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": ["another-client"], "azp": "portal"},
        {"aud": None},
        {"iss": "https://another.example"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "s" * 256},
        {"sub": ["4711"]},
        {"at_hash": "bm90LWl0"},
        {"kid": "unknown"},
    ],
    ids=str,
)
def test_a_token_that_is_not_right_signs_nobody_in(liar: Issuer, client: Client, changes: dict[str, Any]) -> None:
    refused(client, told(liar, client, **changes), "sign_on.failed")
    assert not SignOnIdentity.objects.exists()


def test_a_token_that_another_key_signed_signs_nobody_in(liar: Issuer, client: Client) -> None:
    refused(client, told(liar, client, key=new_key()), "sign_on.failed")


def test_a_token_that_a_secret_or_nothing_signed_signs_nobody_in(liar: Issuer, client: Client) -> None:
    describe(liar, id_token_signing_alg_values_supported=["RS256", "HS256", "none"])
    refused(client, told(liar, client, key="secret-of-the-portal" * 2, alg="HS256"), "sign_on.failed")
    refused(client, told(liar, client, key="", alg="none"), "sign_on.failed")


@pytest.mark.parametrize(
    "answer",
    [
        reply({}),
        reply({"access_token": "a", "token_type": "Bearer"}),
        reply({"access_token": "a", "token_type": "Bearer", "id_token": "no.token.atall"}),
        reply({"access_token": "a", "token_type": "Bearer", "id_token": 7}),
        (200, {"Content-Type": "application/json"}, b"[]"),
        (200, {"Content-Type": "application/json"}, b"not json"),
        (400, {"Content-Type": "application/json"}, b'{"error": "invalid_grant"}'),
        (500, {}, b"oh"),
    ],
    ids=lambda answer: str(answer[2]),
)
def test_an_answer_without_a_token_signs_nobody_in(liar: Issuer, client: Client, answer: Any) -> None:
    asked = query_of(leave(client))
    liar.answers["/token"] = answer
    back = client.get(reverse("sign_on_return"), {"state": asked["state"], "code": "c"})
    assert back.status_code in (403, 503)
    assert not is_signed_in(client)
    assert AuditEntry.objects.get(verb="session.sign_in").outcome == "refused"


def test_a_key_that_the_provider_has_changed_is_read_again(liar: Issuer, client: Client) -> None:
    told(liar, client)
    client.logout()
    liar.rotate()
    assert told(liar, client)["Location"] == reverse("admin:index")


def test_a_secret_with_special_characters_is_sent_in_the_form(liar: Issuer, client: Client, settings: Any) -> None:
    settings.SSO_CLIENT_SECRET = "a secret:with/odd+characters"
    describe(liar, token_endpoint_auth_methods_supported=["client_secret_basic", "client_secret_post"])
    told(liar, client)
    assert liar.forms["/token"]["client_secret"] == settings.SSO_CLIENT_SECRET


def test_the_description_of_another_provider_is_refused(liar: Issuer, client: Client) -> None:
    describe(liar, issuer="https://another.example")
    answer = client.get(reverse("sign_on"))
    assert answer.status_code == 503
    assert "another.example" not in answer.content.decode()


@pytest.mark.parametrize(
    "answer", [(500, {}, b""), (200, {}, b"<html>"), reply({}), (200, {}, b"[]")], ids=lambda answer: str(answer[2])
)
def test_a_provider_that_is_broken_leaves_the_password(liar: Issuer, client: Client, answer: Any) -> None:
    liar.answers["/.well-known/openid-configuration"] = answer
    page = client.get(reverse("sign_on"), {"next": "/admin/runs/run/"})
    assert page.status_code in (403, 503)
    assert f"{reverse('admin:login')}?next=%2Fadmin%2Fruns%2Frun%2F" in page.content.decode()


def test_a_provider_that_is_down_leaves_the_password(client: Client, settings: Any) -> None:
    settings.SSO_ISSUER = "http://127.0.0.1:9"
    page = client.get(reverse("sign_on"))
    assert page.status_code == 503
    assert "Sign in with a password" in page.content.decode()


def test_a_provider_that_is_down_is_asked_by_one_of_many(liar: Issuer, client: Client) -> None:
    liar.answers["/.well-known/openid-configuration"] = (500, {}, b"")
    assert [client.get(reverse("sign_on")).status_code for _ in range(3)] == [503, 503, 503]
    assert len(liar.asked) == 1


@pytest.mark.parametrize(
    ("auth_time", "is_recent"),
    [
        (lambda: time.time(), True),
        (lambda: time.time() - RECENTLY.total_seconds() - 60, False),
        (lambda: time.time() + 30, True),
        (lambda: time.time() + timedelta(minutes=10).total_seconds(), False),
        (lambda: None, False),
        (lambda: True, False),
        (lambda: -1, False),
    ],
)
def test_only_a_time_that_it_confirms_is_recent(
    liar: Issuer, client: Client, auth_time: Callable[[], Any], is_recent: bool
) -> None:
    """Neither a silent sign-on nor one that ignores the request to sign in again opens a link to a decision."""
    target = reverse("admin:runs_runrequest_changelist")
    answer = told(liar, client, auth_time=auth_time())
    assert answer.status_code == 302
    assert (client.get(path_through(target)).status_code == 302) == is_recent
    client.logout()
    again = told(liar, client, {"again": 1, "next": target}, auth_time=auth_time())
    if is_recent:
        assert again["Location"] == target
    else:
        refused(client, again, "sign_on.not_fresh")


def test_the_way_in_which_someone_signed_in_can_be_required(liar: Issuer, client: Client, settings: Any) -> None:
    settings.SSO_ACR = ["phr", "phrh"]
    assert query_of(leave(client))["acr_values"] == "phr phrh"
    for acr in (None, "0", ["phr"]):
        refused(client, told(liar, client, acr=acr), "sign_on.failed")
    assert told(liar, client, acr="phrh").status_code == 302


def test_an_address_may_be_told_apart_but_of_nobody_else(liar: Issuer, client: Client) -> None:
    describe(liar, userinfo_endpoint=f"{liar.url}/userinfo")
    told_apart = {"sub": "another", "email": EMAIL, "email_verified": True}
    liar.answers["/userinfo"] = reply(told_apart)
    refused(client, told(liar, client, email=None, email_verified=None), "sign_on.no_email")
    liar.answers["/userinfo"] = reply(told_apart | {"sub": SUBJECT})
    assert told(liar, client, email=None, email_verified=None).status_code == 302


def test_neither_codes_nor_tokens_are_in_the_log(
    liar: Issuer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    told(liar, client, nonce="of-another-sign-on")
    liar.answers["/token"] = (500, {}, b"secret-of-the-portal")
    asked = query_of(leave(client))
    client.get(reverse("sign_on_return"), {"state": asked["state"], "code": "code-of-otto"})
    assert "provider of single sign-on" in caplog.text
    for secret in ("secret-of-the-portal", "code-of-otto", "eyJ"):
        assert secret not in caplog.text


# The account ----------------------------------------------------------------------------------------------------------


def test_an_administrator_disconnects_an_account(admin_user: User, otto: User, login: Login) -> None:
    client, page = Client(), reverse("admin:auth_user_change", args=[otto.pk])
    disconnect = reverse("admin:auth_user_disconnect_sign_on", args=[otto.pk])
    administrator = login(admin_user)
    assert disconnect not in administrator.get(page).content.decode()
    sign_on(client)
    shown = administrator.get(page).content.decode()
    assert disconnect in shown
    assert SUBJECT in shown
    assert administrator.post(disconnect)["Location"] == page
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.outcome, entry.before["subject"]) == ("person.disconnect_sign_on", "done", SUBJECT)
    assert not SignOnIdentity.objects.exists()
    assert client.get(reverse("admin:index")).status_code == 302
    administrator.post(disconnect)
    assert AuditEntry.objects.latest("sequence").outcome == "refused"
    # The page says when it was connected and disconnected, and by whom.
    story = administrator.get(page).content.decode()
    assert "Disconnected single sign-on" in story


def test_nobody_else_disconnects_an_account(otto: User, requester: User, login: Login) -> None:
    sign_on()
    answer = login(requester).post(reverse("admin:auth_user_disconnect_sign_on", args=[otto.pk]))
    assert answer.status_code in (403, 404)
    assert SignOnIdentity.objects.exists()


def test_the_profile_says_how_one_signs_in(otto: User) -> None:
    client = Client()
    sign_on(client)
    page = client.get(reverse("profile")).content.decode()
    assert "Connected as" in page
    assert "You have no password here" in page


def test_without_a_password_the_address_changes_after_signing_in_again(otto: User) -> None:
    client = Client()
    sign_on(client)
    session = client.session
    session["origin"] |= {"proven_at": None}
    session.save()
    answer = client.post(reverse("profile_email"), {"email": "new@portal.example"})
    assert answer["Location"] == path_through(reverse("profile"))
    otto.refresh_from_db()
    assert otto.email == EMAIL
    sign_on(client, again=1)
    client.post(reverse("profile_email"), {"email": "new@portal.example"})
    otto.refresh_from_db()
    assert otto.email == "new@portal.example"
