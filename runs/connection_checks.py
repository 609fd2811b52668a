"""Ask an address for its version with a credential that is not saved yet. Nothing of it is kept but the result."""

from __future__ import annotations

from flows.encryption import DecryptionError
from flows.models import Server
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError
from runs.errors import Refused
from runs.governance import connection_tests
from runs.models import ConnectionTest

NO_CREDENTIAL = (
    "No credential is set, and the server requires one. Choose the type of credential, enter it, and test again."
)


def carry_out(test: ConnectionTest) -> None:
    """Make a test and record its result; does nothing for one that has ended. Raises nothing."""
    if test.finished_at:
        return
    try:
        server = connection_tests.server_to_ask(test)
        version = version_of(server, is_typed=test.server_id is None)
    except Refused as refusal:
        connection_tests.finish(test, code=refusal.code, message=refusal.message)
    except DecryptionError as error:
        connection_tests.finish(test, code="key.unreadable", message=str(error))
    except PrefectError as error:
        is_open = error.code == "credential.refused" and test.credential_kind == Server.CredentialKind.NONE
        code, message = ("credential.none", NO_CREDENTIAL) if is_open else (error.code or "server.error", str(error))
        connection_tests.finish(test, code=code, message=message)
    else:
        connection_tests.finish(test, version=version)


def version_of(server: Server, *, is_typed: bool) -> str:
    """Return the version of the Prefect server; an empty text where it does not say."""
    try:
        return connect.client_for(server).health().version
    finally:
        # A process reuses its clients, and so keeps their credentials.
        if is_typed:
            connect.forget(server)
