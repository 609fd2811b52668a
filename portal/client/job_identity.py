"""CI jobs without a stored secret: the job token of GitHub Actions or GitLab, exchanged for a token of the portal."""

from __future__ import annotations

import os
from collections.abc import Callable

import httpx

from .client_errors import Misconfigured, UnexpectedAnswer, Unreachable
from .web_session import WebSession, safe_address

# The job token itself, as GitLab gives it, and what chooses between several portals and service accounts.
JOB_TOKEN, ACCOUNT, AUDIENCE = "PORTAL_JOB_TOKEN", "PORTAL_JOB_ACCOUNT", "PORTAL_JOB_AUDIENCE"
# Set by GitHub in jobs with the permission “id-token: write”: where a job asks for its token, and with what.
REQUEST_URL, REQUEST_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
TIMEOUT = 30.0


def is_offered() -> bool:
    """Return whether this process runs in a job that has a job token, or can ask for one."""
    return bool(os.environ.get(JOB_TOKEN) or (os.environ.get(REQUEST_URL) and os.environ.get(REQUEST_TOKEN)))


def exchanger(
    address: str, *, allow_insecure: bool, timeout: float, transport: httpx.BaseTransport | None
) -> Callable[[], str]:
    """Return what gets a token of the portal at an address. It can be called again when that has expired."""

    def exchange() -> str:
        session = WebSession(address, None, allow_insecure=allow_insecure, timeout=timeout, transport=transport)
        body = {"job_token": find_job_token(session.address), "account": os.environ.get(ACCOUNT, "")}
        # Safe to repeat: each answer is a token that ends by itself.
        token = session.send("POST", "/job-tokens", body=body, is_safe=True).body.get("token")
        if transport is None:
            session.close()
        if not isinstance(token, str):
            raise UnexpectedAnswer(f"{session.address} did not give a token for the job token.")
        return token

    return exchange


def find_job_token(address: str) -> str:
    """Return the job token of this job, for the portal at an address."""
    if given := os.environ.get(JOB_TOKEN):
        return given.strip()
    url, secret = os.environ.get(REQUEST_URL, ""), os.environ.get(REQUEST_TOKEN, "")
    try:
        asked = httpx.URL(url)
        # Checked like the address of a portal: the secret must not travel in the clear.
        safe_address(f"{asked.scheme}://{asked.netloc.decode()}", allow_insecure=False)
        response = httpx.get(
            asked.copy_merge_params({"audience": os.environ.get(AUDIENCE) or address}),
            headers={"Authorization": f"Bearer {secret}", "Accept": "application/json"},
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=asked.scheme == "https",
        )
        found = response.json().get("value") if response.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # Without its text, which can quote the address of the request.
        raise Unreachable("GitHub did not give the job a token: its address cannot be reached.") from error
    except (ValueError, AttributeError) as error:
        raise UnexpectedAnswer("GitHub did not give the job a token: its answer cannot be read.") from error
    if not isinstance(found, str) or not found:
        raise Misconfigured("GitHub did not give the job a token. The job needs “permissions: id-token: write”.")
    return found
