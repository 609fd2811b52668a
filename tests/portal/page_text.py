"""What a browser makes of a page, and what people read on it."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a browser would make of a page; `complaints` is what one of the texts has become beyond text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.complaints: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        if tag.startswith("bad-"):
            self.complaints.append(f"It is an element: {tag}")
        for name, value in attrs:
            self.text += f" {value}"
            if "bad-" in name or ("bad-" in (value or "") and is_program(name, value or "")):
                self.complaints.append(f"It is in the attribute {name} of {tag}: {value}")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if "bad-" in data and self._inside in ("script", "style"):
            self.complaints.append(f"It is in a {self._inside}: {data[:80]}")

    def handle_comment(self, data: str) -> None:
        if "bad-" in data:
            self.complaints.append(f"It is in a comment: {data[:80]}")


class VisibleText(HTMLParser):
    """What people read on a page: no attributes, and no names that programs and selectors compare.

    Those are the values of fields, and the evidence of an audit entry: what was stored before and after.
    """

    HIDDEN = frozenset({"script", "style", "datalist", "textarea", "template"})
    # The table of what was stored before and after.
    EVIDENCE = "portal-changes"

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self._hidden = 0
        self._is_evidence = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in self.HIDDEN
        # Tables are not nested.
        self._is_evidence |= tag == "table" and self.EVIDENCE in (dict(attrs).get("class") or "").split()

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in self.HIDDEN
        self._is_evidence &= tag != "table"

    def handle_data(self, data: str) -> None:
        if not self._hidden and not self._is_evidence:
            self.text += data


def is_program(name: str, value: str) -> bool:
    """Whether a browser or Alpine runs what stands in this attribute."""
    runs = name.startswith(("on", "x-", "@", ":", "hx-on")) or name in ("style", "srcdoc")
    return runs or value.strip().lower().startswith("javascript:")
