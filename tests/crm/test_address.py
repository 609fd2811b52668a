"""A source behind an http address: read as a folder is, and refused or tried again as it deserves."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from prefect.states import Failed

from flows.crm import source
from flows.crm.acquisition import read_source
from flows.crm.failures import BadSource, SourceAway
from flows.crm.retries import is_disk_trouble
from tests.crm.tables import CSV, tables


class Files(BaseHTTPRequestHandler):
    """Serves the tables; what lies under `/secret` only to those who know the word, `/broken` to nobody."""

    def do_GET(self) -> None:
        folder, _, file = self.path.lstrip("/").rpartition("/")
        name = file.removesuffix(".csv")
        word = "Basic " + base64.b64encode(b"me:open sesame").decode()
        if folder == "broken":
            self.send_error(503)
        elif folder == "secret" and self.headers["Authorization"] != word:
            self.send_error(401)
        elif name not in CSV or folder == "empty":
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CSV[name].encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{found.server_port}"
        found.shutdown()


def load(address: str) -> source.Source:
    return source.load({"CRM_SOURCE_URL": address})


def test_the_tables_are_read_and_named_after_their_content(server: str) -> None:
    found = load(f"http://{server}/tables/")
    for name, table in tables().items():
        pd.testing.assert_frame_equal(found.tables[name], table)
    assert found.name == source.from_files({name: CSV[name].encode() for name in found.tables}).name


def test_user_and_password_of_the_address_are_sent(server: str) -> None:
    assert load(f"http://me:open%20sesame@{server}/secret").tables
    with pytest.raises(BadSource) as refusal:
        load(f"http://me:wrong@{server}/secret")
    assert str(refusal.value) == (
        f"http://{server}/secret/accounts.csv answers 401: put the file there, or correct CRM_SOURCE_URL."
    )


def test_a_missing_file_is_named(server: str) -> None:
    with pytest.raises(BadSource, match=r"/empty/accounts\.csv answers 404: put the file there, or correct"):
        load(f"http://{server}/empty")


def test_trouble_of_the_server_is_worth_another_try(server: str) -> None:
    for address, sentence in (
        (f"http://{server}/broken", r"/broken/accounts\.csv answers 503: run this again when its server is well\.$"),
        ("http://127.0.0.1:9/tables", r"^http://127\.0\.0\.1:9/tables/accounts\.csv cannot be read \(.*\): start"),
    ):
        with pytest.raises(SourceAway, match=sentence) as refusal:
            load(address)
        assert is_disk_trouble(read_source, None, Failed(data=refusal.value))  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["ftp://host/tables", "/tables", "http://", "file:///tables"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BadSource, match=r"^CRM_SOURCE_URL must begin with http:// or https:// and a host"):
        load(address)


def test_two_sources_are_one_too_many() -> None:
    with pytest.raises(BadSource, match=r"^CRM_SOURCE_DIR and CRM_SOURCE_URL both name a source: unset one"):
        source.load({"CRM_SOURCE_DIR": "/tables", "CRM_SOURCE_URL": "http://host/tables"})


def test_a_file_that_is_too_large_is_refused(server: str) -> None:
    with pytest.raises(BadSource, match=r"accounts\.csv is larger than 0 MiB: name the address of the CRM tables\.$"):
        source.fetch(f"http://{server}/tables/accounts.csv", largest=10)
