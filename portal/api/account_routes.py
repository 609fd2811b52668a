"""Routes of the caller itself, and of tokens that were found where they should not be."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from ninja import Field, Router, Schema

from portal.api.bodies import body
from portal.api.catalog_routes import actor_of
from portal.api.problems import PROBLEMS
from portal.api.rule_schemas import Selection
from portal.auth import throttle
from runs.governance import tokens
from runs.models import Token

router = Router(tags=["Tokens"])


class Scope(Selection):
    verbs: list[str]


class Me(Schema):
    user: str
    on_behalf_of: str = Field(description="The owner of a service account.")
    token: str = Field(description="Key of the token, by which the audit trail names it.")
    token_name: str
    expires_at: datetime
    reads_trail: bool = Field(description="Whether it reads the whole audit trail, as long as its person can.")
    scopes: list[Scope]


@router.get("/me", response={200: Me, **PROBLEMS}, summary="Who this token is")
def read_me(request: HttpRequest) -> Me:
    by = actor_of(request)
    token = Token.objects.prefetch_related("scopes__environment").get(key=by.token_id)
    return Me(
        user=by.name,
        on_behalf_of=by.on_behalf_of,
        token=token.key,
        token_name=token.name,
        expires_at=token.expires_at,
        reads_trail=token.reads_trail,
        scopes=[
            Scope(
                verbs=scope.verbs,
                environment=scope.environment.slug if scope.environment else None,
                flow=scope.flow_name,
                deployment=scope.full_name,
                tag=scope.tag,
            )
            for scope in token.scopes.all()
        ],
    )


class FoundToken(Schema):
    model_config = body(token="portal_7Yq0cT1vB2xW.…")  # noqa: S106  (an example)

    token: str = Field(max_length=200, description="The whole text of the token.")


class Revoked(Schema):
    revoked: bool = Field(description="false: there is no valid token with this text.")


@router.post("/tokens/revoke", auth=None, response={200: Revoked, **PROBLEMS}, summary="Revoke a token that was found")
def revoke_found(request: HttpRequest, payload: FoundToken) -> Revoked:
    """Revoke a token by its text, without signing in: for a token that was found in a repository or a log."""
    address = request.META.get("REMOTE_ADDR", "")
    agent = request.META.get("HTTP_USER_AGENT", "")
    found = tokens.revoke_found(payload.token, address=address, user_agent=agent)
    if not found:
        throttle.begin_token(address)
    return Revoked(revoked=found)
