"""The route of CI jobs, which have no token of the portal yet."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from ninja import Field, Router, Schema

from portal.api.bodies import body
from portal.api.problems import PROBLEMS, Problem
from portal.auth import job_tokens

router = Router(tags=["Tokens"])


class ShownJob(Schema):
    model_config = body(job_token="eyJ…", account="nightly")  # noqa: S106  (an example)

    job_token: str = Field(max_length=job_tokens.LARGEST, description="The JWT that GitHub or GitLab gave the job.")
    account: str = Field(
        default="", max_length=150, description="Name of the service account, if several trust the job."
    )


class GivenToken(Schema):
    token: str = Field(description="The whole text of the token. It is shown once.")
    key: str = Field(description="By which the audit trail names it.")
    expires_at: datetime
    account: str
    on_behalf_of: str = Field(description="The owner of the service account.")


@router.post(
    "/job-tokens",
    auth=None,
    response={200: GivenToken, 503: Problem, **PROBLEMS},
    summary="Exchange the token of a CI job",
)
def exchange(request: HttpRequest, payload: ShownJob) -> GivenToken:
    """Return a short-lived token of the service account that trusts the job. No other authentication is needed."""
    new = job_tokens.exchange(
        payload.job_token,
        account=payload.account,
        address=request.META.get("REMOTE_ADDR", ""),
        user_agent=request.META.get("HTTP_USER_AGENT", ""),
    )
    return GivenToken(
        token=new.text,
        key=new.token.key,
        expires_at=new.token.expires_at,
        account=new.token.user.get_username(),
        on_behalf_of=new.token.user.service_account.owner.get_username(),
    )
