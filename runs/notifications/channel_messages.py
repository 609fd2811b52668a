"""What is sent to a channel, in the JSON of each kind. No message can approve anything: it has a link to the portal.

The text comes from users. Slack and Teams read some of it as markup, such as a mention of everyone in a room: it is
sent in elements that show plain text, and escaped where there is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from runs.automation.hook_messages import sign_standard
from runs.models import Channel, Delivery, Notification
from runs.notifications.links import is_web

Kind = Channel.Kind

# Characters that the other side accepts.
SLACK_HEADER, SLACK_TEXT, TEAMS_TEXT = 150, 3000, 8000
USER_AGENT = "prefect-operations-portal"


def body_of(kind: str, notice: Notification, link: str) -> bytes:
    """Return the body of a message; the same in every attempt."""
    return json.dumps(BODIES[kind](notice, link), ensure_ascii=False).encode()


def headers_of(delivery: Delivery, body: bytes, secret: str, now: datetime) -> dict[str, str]:
    """Return the headers; with a secret those of Standard Webhooks, whose id is the same in every attempt."""
    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
    if not secret:
        return headers
    name, time = message_id(delivery), str(int(now.timestamp()))
    signature = sign_standard(secret, f"{name}.{time}.".encode() + body)
    return headers | {"webhook-id": name, "webhook-timestamp": time, "webhook-signature": signature}


def message_id(delivery: Delivery) -> str:
    return f"msg_{delivery.key.hex}"


def webhook_body(notice: Notification, link: str) -> dict[str, Any]:
    return {
        "type": f"notification.{notice.topic.replace(' ', '_')}",
        "timestamp": notice.created_at.isoformat(),
        "data": {
            "id": notice.pk,
            "topic": notice.topic,
            "environment": notice.environment.slug if notice.environment else None,
            "subject": notice.subject,
            "text": notice.text,
            "url": link,
        },
    }


def slack_body(notice: Notification, link: str) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": notice.subject[:SLACK_HEADER], "emoji": False}}
    ]
    if notice.text:
        text = {"type": "plain_text", "text": notice.text[:SLACK_TEXT], "emoji": False}
        blocks.append({"type": "section", "text": text})
    if link:
        words = f"<{escape_slack(link)}|Open in the portal>" if is_web(link) else escape_slack(f"In the portal: {link}")
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": words}})
    # For notifications of devices, where no block is shown.
    return {"text": escape_slack(notice.subject), "blocks": blocks}


def teams_body(notice: Notification, link: str) -> dict[str, Any]:
    """Return an Adaptive Card as workflows of Teams take it."""
    lines = [line for line in notice.text[:TEAMS_TEXT].splitlines() if line.strip()]
    if link and not is_web(link):
        lines.append(f"In the portal: {link}")
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        # Not TextBlock, which reads its text as Markdown.
        "body": [
            rich_text(notice.subject, weight="Bolder", size="Medium"),
            *(rich_text(line) for line in lines),
        ],
    }
    if is_web(link):
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open in the portal", "url": link}]
    content_type = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": content_type, "contentUrl": None, "content": card}]}


def rich_text(text: str, **style: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


def service_body(notice: Notification, link: str) -> dict[str, Any]:
    """Return title and text for `runs.apprise_process`."""
    where = "" if not link else f"\n\n{link}" if is_web(link) else f"\n\nIn the portal: {link}"
    return {"title": notice.subject, "body": f"{notice.text}{where}"}


BODIES: Mapping[str, Callable[[Notification, str], dict[str, Any]]] = {
    Kind.WEBHOOK: webhook_body,
    Kind.SLACK: slack_body,
    Kind.TEAMS: teams_body,
    Kind.SERVICE: service_body,
}


def escape_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
