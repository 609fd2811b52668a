"""Verify the job tokens of GitHub and GitLab (JWTs), and exchange them for tokens of the portal."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import jwt
from django.conf import settings

from portal.auth import issuer_keys, throttle
from runs.errors import Refused
from runs.governance import job_refusals, job_trusts
from runs.governance.job_trusts import JobToken
from runs.governance.tokens import NewToken

LARGEST = 16 * 1024
# Seconds by which the clocks of an issuer and of the portal may differ.
LEEWAY = 60
TIMES = ("exp", "nbf", "iat")
REQUIRED = ("iss", "aud", *TIMES)
# What PyJWT raises for hostile content besides its own errors.
UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


def exchange(text: str, *, account: str, address: str, user_agent: str) -> NewToken:
    """Return a token of the portal for a job token.

    Raises `Refused` with a code `job_token.…`, `token.user_inactive`, or `token.throttled` for an address from which
    many were refused.
    """
    issuer, job = "", None
    try:
        header, claims = read(text)
        issuer = claims["iss"]
        job = verify(text, header, claims)
        return job_trusts.exchange(job, account=account, address=address, user_agent=user_agent)
    except Refused as refusal:
        # Counted after it: a job that is trusted is never kept waiting by others behind its address. Nor is it counted
        # that an issuer does not answer.
        if refusal.code != "job_token.unavailable":
            throttle.begin_token(address)
        job_refusals.record(refusal, issuer=issuer, address=address, user_agent=user_agent, job=job)
        raise


def read(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a job token, of which nothing is verified yet; refuse what cannot be one."""
    malformed = Refused("job_token.malformed", "This is not a job token. Send the JWT of GitHub or GitLab as it is.")
    if len(text) > LARGEST or not text.isascii():
        raise malformed
    try:
        found = jwt.decode_complete(text, options={"verify_signature": False})
    except UNREADABLE as error:
        raise malformed from error
    header, claims = found["header"], found["payload"]
    is_signed = header.get("alg") in issuer_keys.ALGORITHMS and isinstance(header.get("kid"), str)
    # An extension that must be understood is not.
    if not is_signed or "crit" in header or not isinstance(claims.get("iss"), str):
        raise malformed
    if not all(is_time(claims.get(name)) for name in TIMES):
        raise malformed
    return header, claims


def verify(text: str, header: Mapping[str, Any], claims: Mapping[str, Any]) -> JobToken:
    """Return what a job token says, once its issuer has been proved to say so.

    Whatever a stranger could send is refused before the keys of an issuer are read.
    """
    # 1. Without its keys.
    issuer = claims["iss"]
    if issuer not in settings.JOB_ISSUERS:
        raise Refused("job_token.issuer", "The issuer of this job token is not accepted here.")
    now = time.time()
    if claims["exp"] <= now - LEEWAY or max(claims["nbf"], claims["iat"]) > now + LEEWAY:
        raise Refused("job_token.expired", "The job token has expired, or is not valid yet. Request another one.")
    audience = only_audience(claims.get("aud"))
    if not job_trusts.candidates(issuer, [audience]).exists():
        raise Refused("job_token.audience", "No trusted job of this issuer has the audience of this job token.")
    # 2. With them.
    key = issuer_keys.key_of(issuer, header["kid"])
    try:
        verified = jwt.decode(
            text,
            key,
            algorithms=list(issuer_keys.ALGORITHMS),
            audience=audience,
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": list(REQUIRED)},
        )
    except UNREADABLE as error:
        raise Refused("job_token.signature", "The job token is not signed with a key of its issuer.") from error
    return JobToken(issuer, audience, verified, hashlib.sha256(text.encode()).hexdigest())


def only_audience(found: object) -> str:
    """Return the audience; one of several could be a service that sends the job token on to the portal."""
    values = found if isinstance(found, list) else [found]
    if len(values) != 1 or not isinstance(values[0], str):
        raise Refused("job_token.audience", "The job token is not for the portal alone. Request one with one audience.")
    return values[0]


def is_time(value: object) -> bool:
    """Return whether a claim is a number of seconds since 1970."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40
