"""Test an address and a credential before they are saved: the only code that writes `ConnectionTest`.

A test is a background task. A stored credential is used only for the address that it is stored for. For any other it
has to be typed, or an administrator could read it by pointing the address at a server of their own.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db.models.functions import Now
from django.utils import timezone

from flows import encryption, server_identity
from flows.models import Environment, Server
from flows.models.server import validate_address
from runs import audit, queue
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.configuration import REENTER, require_administrator
from runs.models import ConnectionTest

NONE = Server.CredentialKind.NONE
# A test that starts later is not made any more: a typed credential must not lie about.
LATEST = timedelta(minutes=2)
LONGEST_KEPT = timedelta(days=1)
LONGEST_VERSION = 40


def request_test(
    *, api_url: str, credential_kind: str, credential: str = "", environment: Environment | None = None, by: Actor
) -> ConnectionTest:
    """Queue a test of an address with a typed credential, or with the one that an environment's server has stored.

    Raises `Refused` with code `environment.address`, `credential.missing` or `credential.reenter`.
    """
    with audit.act("environment.test", environment, by=by, subject_kind="environment") as act:
        require_administrator(by)
        act.environment = environment.slug if environment else ""
        require_address(api_url)
        server = None
        if credential_kind != NONE and not credential:
            server = stored_server(environment, api_url, credential_kind)
        used = "" if credential_kind == NONE else "stored" if server else "typed"
        act.after = {"api_url": api_url, "credential_kind": credential_kind, "credential": used}
        ConnectionTest.objects.filter(requested_at__lt=timezone.now() - LONGEST_KEPT).delete()
        test = ConnectionTest(
            requested_by_id=by.user.pk, api_url=api_url, credential_kind=credential_kind, server=server
        )
        if used == "typed":
            test.sealed_credential = encryption.seal(credential)
        test.save()
        queue.enqueue("runs.tasks.test_connection", test.pk)
        return test


def require_address(api_url: str) -> None:
    """Refuse what could not be saved as an address either."""
    try:
        validate_address(api_url)
    except ValidationError as error:
        raise Refused("environment.address", f"The API URL is not valid. {' '.join(error.messages)}") from error
    parts = urlsplit(api_url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise Refused("environment.address", "The API URL must not contain a user, a password, ? or #.")


def stored_server(environment: Environment | None, api_url: str, credential_kind: str) -> Server:
    """Return the server of an environment if its stored credential can be used for an address; raises `Refused`."""
    server = Server.objects.filter(environments=environment.pk).first() if environment else None
    if server is None or not server.sealed_credential or server.credential_kind != credential_kind:
        raise Refused("credential.missing", "Enter the credential. None of this kind is stored.")
    if not server_identity.is_same_address(server.api_url, api_url):
        raise Refused("credential.reenter", REENTER)
    return server


def server_to_ask(test: ConnectionTest) -> Server:
    """Return the address with its credential, for the task.

    Raises `Refused`, because the server that has the credential may have another address by now.
    """
    if timezone.now() - test.requested_at > LATEST:
        raise Refused("test.expired", "The test did not start in time. Check that the background tasks run.")
    sealed = bytes(test.sealed_credential)
    if test.server_id:
        stored = Server.objects.get(pk=test.server_id)
        if not server_identity.is_same_address(stored.api_url, test.api_url):
            raise Refused("credential.reenter", REENTER)
        sealed = bytes(stored.sealed_credential)
    return Server(api_url=test.api_url, credential_kind=test.credential_kind, sealed_credential=sealed)


def finish(test: ConnectionTest, *, code: str = "", message: str = "", version: str = "") -> None:
    """Record the result of a test once, and delete the typed credential."""
    ConnectionTest.objects.filter(pk=test.pk, finished_at=None).update(
        finished_at=Now(),
        is_connected=not code,
        code=code,
        message=message,
        version=version[:LONGEST_VERSION],
        sealed_credential=b"",
    )


def own_test(pk: int, *, by: Actor) -> ConnectionTest | None:
    """Return a test of this person; None for one of another or none."""
    return ConnectionTest.objects.filter(pk=pk, requested_by=by.user.pk).first()
