"""The provider of single sign-on: who signed in there, by OpenID Connect.

Authlib speaks the protocol: authorization code with PKCE, state and nonce, and an ID token whose signature, times and
claims it verifies. Settings name the provider; nothing that it says leads the portal to another one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.django_client import OAuth
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils import timezone
from joserfc.errors import JoseError

from portal.auth.issuer_keys import ALGORITHMS, DISCOVERY
from runs.errors import Refused
from runs.governance.sign_on import Identity

SCOPE = "openid profile email"
TIMEOUT = 5  # seconds for each answer of the provider
# Seconds for which a provider that did not answer is not asked again; otherwise such requests could occupy all threads.
PAUSE = 5.0
# Seconds by which its clock may be ahead of ours; Authlib allows as many for the times of a token.
CLOCK_SKEW = 120
# Seconds after which its description and keys are read again.
KEPT_FOR = 3600
LONGEST_SUBJECT = 255
IN_FORM = "client_secret_post"

log = logging.getLogger(__name__)
# issuer -> until when it is not asked, in monotonic seconds
PAUSED: dict[str, float] = {}


def begin(redirect_uri: str, *, again: timedelta | None = None) -> tuple[str, dict[str, str]]:
    """Return the provider's address to send a browser to, and what has to be known when it returns.

    With `again`, the provider asks for the password again, unless it was entered there within that time.
    Raises `Refused` with code `sign_on.unavailable`.
    """
    options: dict[str, Any] = {"prompt": "login", "max_age": int(again.total_seconds())} if again else {}
    if settings.SSO_ACR:
        options["acr_values"] = " ".join(settings.SSO_ACR)
    with refusing():
        found = described_client().create_authorization_url(redirect_uri, **options)
    return found["url"], {name: found[name] for name in ("state", "nonce", "code_verifier")}


def identify(code: str, known: Mapping[str, str], redirect_uri: str) -> Identity:
    """Return who signed in, for the code with which the browser returned, and what was known when it left.

    Raises `Refused` with code `sign_on.unavailable` or `sign_on.failed`.
    """
    with refusing():
        client = described_client()
        token = client.fetch_access_token(redirect_uri, code=code, code_verifier=known["code_verifier"])
        expected = {
            "iss": {"essential": True, "value": client.server_metadata["issuer"]},
            "aud": {"essential": True, "value": settings.SSO_CLIENT_ID},
        }
        claims = client.parse_id_token(token, known["nonce"], claims_options=expected)
        if claims is None:
            raise failed("It sent no ID token.")
        if settings.SSO_ACR and claims.get("acr") not in settings.SSO_ACR:
            raise failed("You did not sign in there in the way that the portal requires, such as with a second factor.")
        if "email" not in claims and "userinfo_endpoint" in client.server_metadata:
            described = client.userinfo(token=token)
            # OpenID Connect Core, 5.3.2: the subjects must match.
            claims = {**described, **claims} if described.get("sub") == claims["sub"] else claims
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
        raise failed("Its ID token has no valid subject.")
    return Identity(settings.SSO_ISSUER, subject, verified_email(claims), proven_at(claims))


def verified_email(claims: Mapping[str, Any]) -> str:
    """Return the email address; blank if it is none, or the provider has not verified it."""
    email = claims.get("email")
    is_verified = settings.SSO_TRUSTS_EMAIL or claims.get("email_verified") in (True, "true")
    if not is_verified or not isinstance(email, str):
        return ""
    try:
        validate_email(email)
    except ValidationError:
        return ""
    return email


def proven_at(claims: Mapping[str, Any]) -> datetime | None:
    """Return when the person proved who they are; None if the provider does not say, or names a time to come."""
    found = claims.get("auth_time")
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found <= time.time() + CLOCK_SKEW:
        return None
    return min(datetime.fromtimestamp(found, UTC), timezone.now())


# The client -----------------------------------------------------------------------------------------------------------


def described_client() -> Any:
    """Return Authlib's client, with the description of the provider that the settings name."""
    if time.monotonic() < PAUSED.get(settings.SSO_ISSUER, 0):
        raise unavailable()
    hour = int(time.time() // KEPT_FOR)
    client = client_of(hour, settings.SSO_ISSUER, settings.SSO_CLIENT_ID, settings.SSO_CLIENT_SECRET)
    described = client.load_server_metadata().get("issuer")
    if not isinstance(described, str) or described.rstrip("/") != settings.SSO_ISSUER:
        # OpenID Connect Discovery, 4.3: they must be equal, or another issuer could sign users in.
        client_of.cache_clear()
        log.error("PORTAL_SSO_ISSUER is %s, and what it describes is of %.300r.", settings.SSO_ISSUER, described)
        raise unavailable()
    # Not what the description lists: it may include `none`, and unsigned tokens would be accepted.
    client.server_metadata["id_token_signing_alg_values_supported"] = list(ALGORITHMS)
    # In a header, providers read a secret with special characters in different ways.
    if IN_FORM in client.server_metadata.get("token_endpoint_auth_methods_supported", ()):
        client.client_kwargs["token_endpoint_auth_method"] = IN_FORM
    return client


@lru_cache(maxsize=1)
def client_of(hour: int, issuer: str, client_id: str, client_secret: str) -> Any:
    """Return a client that reads description and keys of the provider once; a new one each hour."""
    return OAuth().register(
        "portal",
        client_id=client_id,
        client_secret=client_secret,
        server_metadata_url=issuer + DISCOVERY,
        client_kwargs={"scope": SCOPE, "code_challenge_method": "S256", "default_timeout": TIMEOUT},
    )


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what goes wrong between the portal and the provider into a refusal; the log says what it was."""
    try:
        yield
    except requests.RequestException as error:
        # Without its text, which can hold an address with a code.
        log.warning("The provider of single sign-on cannot be reached: %s.", type(error).__name__)
        PAUSED[settings.SSO_ISSUER] = time.monotonic() + PAUSE
        raise unavailable() from None
    except (OAuthError, JoseError) as error:
        log.warning(
            "The provider of single sign-on did not confirm a sign-on: %s: %.300r.", type(error).__name__, error.error
        )
        raise failed("Try again; if that does not help, ask a portal administrator to look into the log.") from None
    except (ValueError, TypeError, LookupError, RuntimeError, AttributeError) as error:
        # Authlib does not check the shape of what it reads.
        log.warning("The provider of single sign-on sent an invalid answer: %s.", type(error).__name__)
        raise failed("Its answer is not valid.") from None


def failed(why: str) -> Refused:
    return Refused("sign_on.failed", f"{settings.SSO_NAME} did not confirm who you are. {why}")


def unavailable() -> Refused:
    return Refused(
        "sign_on.unavailable", f"{settings.SSO_NAME} cannot be reached at the moment. Try again in a minute."
    )
