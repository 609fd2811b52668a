"""Writes the pages of docs/ that are made from the code: `make docs`."""

from __future__ import annotations

from portal.demo.processes import ROOT
from runs.errors import CODES

ERRORS = """# Codes of refusals

A service that refuses says why in two ways: a code for programs, tests and forms, and a sentence for people. The
sentence may change, the code stays. The audit trail keeps the code of each refusal.

| Code | Meaning |
|---|---|
{rows}
"""


def errors() -> str:
    return ERRORS.format(rows="\n".join(f"| `{code}` | {meaning} |" for code, meaning in CODES.items()))


def main() -> None:
    (ROOT / "docs" / "errors.md").write_text(errors())


if __name__ == "__main__":
    main()
