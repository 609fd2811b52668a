"""Asks pages and questions of running servers with several clients at once, and counts the milliseconds."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

CLIENTS = 2
# Answers of a size that both give.
ROWS = 50

type Ask = Callable[[httpx.Client], httpx.Response]


@dataclass(frozen=True, slots=True)
class Place:
    """The servers beside one size of database, and what they are asked."""

    runs: int
    portal: str
    prefect: str
    asked: dict[str, Any]

    @classmethod
    def read(cls, runs: int, portal: str, prefect: str, file: Path) -> Place:
        return cls(runs, portal, prefect, json.loads(file.read_text()))


def milliseconds(ask: Ask, requests: int) -> dict[str, float]:
    """Return the median and the 95th percentile of an answer, by `CLIENTS` at once, after one that is not counted."""

    def client(_: int) -> list[float]:
        found = []
        with httpx.Client(timeout=120, trust_env=False) as http:
            for number in range(requests + 1):
                began = time.perf_counter()
                ask(http).raise_for_status()
                found.append((time.perf_counter() - began) * 1000)
                if number == 0 and found[0] > 3000:
                    break  # told by one
        return found[1:] or found

    with ThreadPoolExecutor(CLIENTS) as pool:
        waits = [wait for each in pool.map(client, range(CLIENTS)) for wait in each]
    cuts = statistics.quantiles(waits, n=20)
    return {"p50": round(statistics.median(waits), 1), "p95": round(cuts[18], 1)}


def page(place: Place, reader: str, path: str) -> Ask:
    headers = {"Cookie": place.asked["cookies"][reader]}

    def ask(http: httpx.Client) -> httpx.Response:
        found = http.get(place.portal + path, headers=headers)
        if found.has_redirect_location:
            raise httpx.HTTPStatusError(f"{path} is not offered", request=found.request, response=found)
        return found

    return ask


def question(place: Place, reader: str, name: str) -> Ask:
    asked = place.asked["questions"][name]
    query = urlencode({"limit": ROWS, **asked["api"]}, doseq=True)
    address = f"{place.portal}{asked.get('path', '/api/v1/runs')}?{query}"
    numbers = count()
    tokens = place.asked["tokens"][reader]

    def ask(http: httpx.Client) -> httpx.Response:
        token = tokens[next(numbers) % len(tokens)]
        return http.get(address, headers={"Authorization": f"Bearer {token}"})

    return ask


def of_prefect(place: Place, name: str) -> Ask | None:
    asked = place.asked["questions"][name]["prefect"]
    if asked is None:
        return None
    body = {"limit": ROWS, "offset": 0, "sort": "START_TIME_DESC", **asked}
    return lambda http: http.post(f"{place.prefect}/api/flow_runs/filter", json=body)


def pages(places: list[Place], readers: list[str], requests: int) -> dict[str, dict[str, Any]]:
    """Return reader -> page -> the milliseconds at each size, their ratio, and the number of queries."""
    small, large = places
    found: dict[str, dict[str, Any]] = {}
    for reader in readers:
        for name in small.asked["pages"]:
            paths = [each.asked["pages"][name] for each in places]
            try:
                measured = {
                    f"{each.runs}": milliseconds(page(each, reader, path), requests)
                    for each, path in zip(places, paths, strict=True)
                }
            except httpx.HTTPStatusError as error:
                print(f"{reader:8} {name:32} {error.response.status_code}", flush=True)
                continue
            one, other = measured.values()
            row = {
                **measured,
                "ratio": round(other["p50"] / one["p50"], 2),
                "queries": large.asked["queries"][reader][name],
            }
            found.setdefault(reader, {})[name] = row
            print(
                f"{reader:8} {name:32} p95 {one['p95']:7.1f} {other['p95']:8.1f} ms   "
                f"ratio of p50 {row['ratio']:5.2f}   {row['queries']} queries",
                flush=True,
            )
    return found


def api(places: list[Place], readers: list[str], requests: int) -> dict[str, dict[str, Any]]:
    """Return reader -> question -> milliseconds of the portal's API, and Prefect's own, at each size."""
    found: dict[str, dict[str, Any]] = {}
    for reader in readers:
        for name in places[0].asked["questions"]:
            row = {f"{each.runs}": beside(each, reader, name, requests) for each in places}
            found.setdefault(reader, {})[name] = row
            shown = "   ".join(sentence(size, measured) for size, measured in row.items())
            print(f"{reader:8} {name:30} {shown}", flush=True)
    return found


def beside(place: Place, reader: str, name: str, requests: int) -> dict[str, Any]:
    """Measure the portal and Prefect by turns, so that what else the machine does burdens both."""
    theirs = of_prefect(place, name)
    found: dict[str, Any] = {"portal": milliseconds(question(place, reader, name), requests)}
    if theirs:
        found["prefect"] = milliseconds(theirs, requests)
        found["ratio"] = round(found["portal"]["p50"] / found["prefect"]["p50"], 2)
        found["kept"] = found["portal"]["p50"] <= max(1.2 * found["prefect"]["p50"], 40)
    return found


def sentence(size: str, measured: dict[str, Any]) -> str:
    if "prefect" not in measured:
        return f"{int(size):,}: {measured['portal']['p50']} ms"
    ours, theirs = measured["portal"]["p50"], measured["prefect"]["p50"]
    return f"{int(size):,}: {ours} ms, Prefect {theirs}, ratio {measured['ratio']}"


def serve_until_ready(answers: Iterator[bool], seconds: float) -> None:
    """Wait until one of the answers is true."""
    deadline = time.monotonic() + seconds
    for answer in answers:
        if answer:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"A server did not answer in {seconds:.0f} s.")
        time.sleep(0.3)
