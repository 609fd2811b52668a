"""Print the outputs of the action from the answer of `portal run --json`; nothing if there was none."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(place: str) -> None:
    text = Path(place).read_text()
    if not text.strip():
        return
    request = json.loads(text)["requests"][0]
    found = {"request": request["id"], "run": request["run"], "state": request["state"], "url": request["url"]}
    for name, value in found.items():
        # One line each: no value can add an output of its own.
        print(f"{name}={' '.join(str(value or '').split())}")


if __name__ == "__main__":
    main(sys.argv[1])
