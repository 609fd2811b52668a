"""Send one message by Apprise: `python -m runs.apprise_process`, with {address, title, body} as JSON on standard input.

It exits with 0 if the service accepted it, and 1 if not. A process of its own: Apprise takes 40 MB, has no limit on how
long it takes, and would write addresses with their keys into logs.
"""

from __future__ import annotations

import json
import logging
import sys

import apprise


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
    is_sent = service.notify(title=message["title"], body=message["body"], body_format=apprise.NotifyFormat.TEXT)
    return 0 if is_sent else 1


if __name__ == "__main__":
    sys.exit(main(sys.stdin.read()))
