"""A Prefect that takes its time, and answers launches or refuses everything with 503, as the environment says."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.fake_world import Counting
from flows.prefect_api.records import Credential, FlowRunRecord, PrefectError

SECONDS = float(os.environ.get("STUB_SECONDS", "0.1"))
FAILS = "STUB_FAILS" in os.environ


class Slow(Counting):
    """Launches are answered; whatever else is asked ends as an error, after the same time."""

    def create_flow_run(self, deployment_id: uuid.UUID, **sent: Any) -> FlowRunRecord:
        time.sleep(SECONDS)
        if FAILS:
            raise PrefectError("Prefect answered 503.", status=503)
        record = super().create_flow_run(deployment_id, **sent)
        # The same run for the same key, whichever process asks.
        return replace(record, id=uuid.uuid5(uuid.NAMESPACE_URL, sent["idempotency_key"]))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def answer(*arguments: Any, **names: Any) -> Any:
            time.sleep(SECONDS)
            raise PrefectError("Prefect answered 503.", status=503)

        return answer


prefect = Slow()


def connect(api_url: str, credential: Credential) -> Slow:
    return prefect
