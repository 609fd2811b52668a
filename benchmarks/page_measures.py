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

# Of a page; the questions are asked by one.
CLIENTS = 2
# Milliseconds from which an answer is not asked for again.
SLOW = 3000
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


def milliseconds(asks: dict[str, Ask], requests: int, clients: int) -> dict[str, dict[str, float]]:
    """Return the shortest, the median and the 95th percentile of each answer, after one that is not counted.

    They are asked by turns, so that what else the machine does burdens all of them; the shortest tells what they take
    on a machine that does nothing else.
    """

    def client(_: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {name: [] for name in asks}
        with httpx.Client(timeout=120, trust_env=False) as http:
            for number in range(requests + 1):
                for name, ask in asks.items():
                    if number > 1 and found[name][0] > SLOW:
                        continue  # one tells enough
                    began = time.perf_counter()
                    ask(http).raise_for_status()
                    if number:
                        found[name].append((time.perf_counter() - began) * 1000)
        return found

    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(client, range(clients)))
    return {name: summary([wait for each in answers for wait in each[name]]) for name in asks}


def summary(waits: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(waits, n=20) if len(waits) > 1 else waits * 19
    median, late = statistics.median(waits), min(cuts[18], max(waits))
    return {"best": round(min(waits), 1), "p50": round(median, 1), "p95": round(late, 1)}


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
    large = places[-1]
    found: dict[str, dict[str, Any]] = {}
    for reader in readers:
        for name in large.asked["pages"]:
            asks = {f"{each.runs}": page(each, reader, each.asked["pages"][name]) for each in places}
            try:
                measured = milliseconds(asks, requests, CLIENTS)
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
                f"best {one['best']:6.1f} {other['best']:7.1f}   ratio of p50 {row['ratio']:5.2f}   "
                f"{row['queries']} queries",
                flush=True,
            )
    return found


def api(places: list[Place], readers: list[str], requests: int) -> dict[str, dict[str, Any]]:
    """Return reader -> question -> milliseconds of the portal's API, and Prefect's own, at each size."""
    found: dict[str, dict[str, Any]] = {}
    for reader in readers:
        for name in places[0].asked["questions"]:
            row = beside(places, reader, name, requests)
            found.setdefault(reader, {})[name] = row
            shown = "   ".join(sentence(size, measured) for size, measured in row.items())
            print(f"{reader:8} {name:30} {shown}", flush=True)
    return found


def beside(places: list[Place], reader: str, name: str, requests: int) -> dict[str, Any]:
    asks: dict[str, Ask] = {}
    for place in places:
        asks[f"portal {place.runs}"] = question(place, reader, name)
        if theirs := of_prefect(place, name):
            asks[f"prefect {place.runs}"] = theirs
    measured = milliseconds(asks, requests, 1)
    return {f"{place.runs}": compared(measured, place.runs) for place in places}


def compared(measured: dict[str, dict[str, float]], runs: int) -> dict[str, Any]:
    ours, theirs = measured[f"portal {runs}"], measured.get(f"prefect {runs}")
    if theirs is None:
        return {"portal": ours}
    return {
        "portal": ours,
        "prefect": theirs,
        "ratio": round(ours["p50"] / theirs["p50"], 2),
        "ratio of best": round(ours["best"] / theirs["best"], 2),
        "kept": ours["p50"] <= max(1.2 * theirs["p50"], 40),
    }


def sentence(size: str, measured: dict[str, Any]) -> str:
    if "prefect" not in measured:
        return f"{int(size):,}: {measured['portal']['p50']} ms"
    ours, theirs = measured["portal"], measured["prefect"]
    return (
        f"{int(size):,}: {ours['p50']} ms (best {ours['best']}), Prefect {theirs['p50']} (best {theirs['best']}), "
        f"ratio {measured['ratio']}"
    )


def serve_until_ready(answers: Iterator[bool], seconds: float) -> None:
    """Wait until one of the answers is true."""
    deadline = time.monotonic() + seconds
    for answer in answers:
        if answer:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"A server did not answer in {seconds:.0f} s.")
        time.sleep(0.3)
