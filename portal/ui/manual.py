"""The documentation in `docs/`, as pages of the portal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from django.conf import settings
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.token import Token

FOLDER: Path = settings.BASE_DIR / "docs"
# The texts are the portal's own; HTML stays text all the same.
MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")
COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
# Pictures that only some programs draw from their text.
DIAGRAM = re.compile(r"^```mermaid\n.*?^```\n", re.DOTALL | re.MULTILINE)
IMAGE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n", re.MULTILINE)
OTHER_PAGE = re.compile(r"^([a-z0-9-]+)\.md(#.*)?$")


@dataclass(frozen=True, slots=True)
class ManualPage:
    slug: str
    title: str
    lead: str
    html: SafeString


@cache
def pages() -> tuple[ManualPage, ...]:
    """Return all pages by title; none where the portal was installed without its documentation."""
    found = (page_of(path.stem, path.read_text()) for path in FOLDER.glob("*.md"))
    return tuple(sorted(found, key=lambda each: each.title.lower()))


def page(slug: str) -> ManualPage | None:
    return next((each for each in pages() if each.slug == slug), None)


def page_of(slug: str, text: str) -> ManualPage:
    for left_out in (COMMENT, DIAGRAM, IMAGE):
        text = left_out.sub("", text)
    tokens = MARKDOWN.parse(text)
    title, lead = texts_of(tokens)
    # The page has its title already.
    body = tokens[3:] if tokens and tokens[0].tag == "h1" else tokens
    finish(body)
    return ManualPage(slug, title or slug, lead, SafeString(MARKDOWN.renderer.render(body, MARKDOWN.options, {})))


def texts_of(tokens: Sequence[Token]) -> tuple[str, str]:
    """Return the first heading and the first paragraph as plain text."""
    found = {"h1": "", "p": ""}
    for opening, inline in pairwise(tokens):
        if inline.type == "inline" and found.get(opening.tag) == "":
            parts = (" " if each.type == "softbreak" else each.content for each in inline.children or ())
            found[opening.tag] = "".join(parts)
    return found["h1"], " ".join(found["p"].split())


def finish(tokens: Sequence[Token]) -> None:
    """Give headings their anchors, and lead links to the pages of the portal; wide tables scroll by themselves."""
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", slugify(inline.content))
        if opening.type == "table_open":
            opening.attrSet("class", "portal-table")
    for token in tokens:
        for each in token.children or ():
            if each.type == "link_open":
                each.attrSet("href", address_of(str(each.attrGet("href") or "")))


def address_of(target: str) -> str:
    """Return where a link leads from a page of the portal: to another page, a part of this one, or out."""
    if other := OTHER_PAGE.match(target):
        return reverse("help_page", args=[other[1]]) + (other[2] or "")
    return target
