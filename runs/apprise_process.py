"""Send one message by Apprise: `python -m runs.apprise_process`, with {address, title, body} as JSON on standard input.

It exits with 0 if the service accepted it, and 1 if not, and prints {status, text, retry_after} of the service's last
answer, {} without one. A process of its own: Apprise takes 40 MB, has no limit on how long it takes, and would write
addresses with their keys into logs.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import apprise
import requests

# Characters of an answer.
LONGEST_ANSWER = 4096


class Answers:
    """The answers that a service gives: Apprise itself returns only whether it accepted the message."""

    def __init__(self) -> None:
        self.found: list[requests.Response] = []

    def watch(self) -> None:
        """Note every answer from now on. All services of Apprise send by `requests`."""
        send, found = requests.Session.send, self.found

        def watched(self: requests.Session, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
            found.append(answer := send(self, request, **kwargs))
            return answer

        requests.Session.send = watched  # type: ignore[method-assign]  # there is no other way to see them

    def last(self, *, is_sent: bool) -> dict[str, Any]:
        """Return the last answer that says what Apprise says, {} without one.

        Some services answer 200 to what they refuse, and Apprise reads it in the text; some of several calls may fail.
        """
        found = [each for each in self.found if (each.status_code < 300) == is_sent]
        if not found:
            return {}
        answer = found[-1]
        wait = answer.headers.get("Retry-After", "")
        return {"status": answer.status_code, "text": answer.text[:LONGEST_ANSWER], "retry_after": wait}


def main(text: str) -> int:
    message = json.loads(text)
    logging.disable(logging.CRITICAL)
    asset = apprise.AppriseAsset(
        async_mode=False,
        # Nothing of others beside the text: no icons, no redirect, no plug-ins of this machine, no files kept.
        image_url_mask="",
        image_url_logo="",
        http_redirects=0,
        plugin_paths=[],
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        app_id="Operations portal",
        app_desc="Operations portal",
        app_url="",
    )
    service = apprise.Apprise.instantiate(message["address"], asset=asset, suppress_exceptions=True)
    if service is None:
        return 1
    answers = Answers()
    answers.watch()
    is_sent = service.notify(title=message["title"], body=message["body"], body_format=apprise.NotifyFormat.TEXT)
    print(json.dumps(answers.last(is_sent=bool(is_sent))))
    return 0 if is_sent else 1


if __name__ == "__main__":
    sys.exit(main(sys.stdin.read()))
