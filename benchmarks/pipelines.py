"""How fast, how large and how right the CRM pipelines are: `python -m benchmarks.pipelines`.

Parts, each of which can be run alone with `--only`:

- flows: seconds and peak memory of each flow, run whole in a process of its own against a new Prefect server
- alarms: how often a month without drift raises an alarm, over generated worlds
- hits: how often planted drift is found
- permuted: the AUC of models that were trained on permuted outcomes
- rows: processor seconds and peak memory of the steps without Prefect, at 1, 10 and 100 times the rows

The tables of flows, permuted and rows are those of CRM_SOURCE_DIR; without it, generated ones of the same size. Results
go to benchmarks/pipelines.json; parts that were not run keep theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import pipeline_runs, pipeline_worlds
from flows.crm import features, model_training

RESULTS = Path(__file__).with_suffix(".json")
SIZES = (200, 1000, 5000)
HIT_WORLDS = 10
PERMUTATIONS = 20
MONTH = "2017-10"


@dataclass(frozen=True)
class Options:
    worlds: int
    sizes: Sequence[int]
    factors: Sequence[int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipelines")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="run only this part; repeatable")
    parser.add_argument("--worlds", type=int, default=30, help="generated worlds of each size, for alarms")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="deals a month, for alarms and hits")
    parser.add_argument("--factors", type=int, nargs="+", default=(1, 10, 100), help="multiples of the rows, for rows")
    chosen = parser.parse_args(arguments)
    options = Options(chosen.worlds, chosen.sizes, chosen.factors)
    for name in chosen.only or list(PARTS):
        found = PARTS[name](options)
        # Read last: another part may have been run meanwhile.
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results[name] = {**results.get(name, {}), **found}
        RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
        print("\n".join(TABLES[name](results[name])), end="\n\n", flush=True)
    return 0


def flows(options: Options) -> dict[str, Any]:
    return pipeline_runs.time_flows()


def rows(options: Options) -> dict[str, Any]:
    return {str(factor): pipeline_runs.time_steps(factor) for factor in options.factors}


def alarms(options: Options) -> dict[str, Any]:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = {
            str(size): list(pool.map(partial(_levels, deals=size), range(1, options.worlds + 1)))
            for size in options.sizes
        }
    return {
        size: {
            "worlds": len(worlds),
            "months": sum(map(len, worlds)),
            "alarms": sum(level not in ("NONE", "UNKNOWN") for world in worlds for level in world),
            "unknown": sum(level == "UNKNOWN" for world in worlds for level in world),
        }
        for size, worlds in found.items()
    }


def hits(options: Options) -> dict[str, Any]:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = {
            str(size): list(pool.map(partial(_found, deals=size), range(1, HIT_WORLDS + 1))) for size in options.sizes
        }
    return {
        size: {
            name: [round(float(np.mean([world[name][at] for world in worlds])), 2) for at in range(len(strengths))]
            for name, (_, strengths) in pipeline_worlds.PLANTS.items()
        }
        for size, worlds in found.items()
    }


def permuted(options: Options) -> dict[str, Any]:
    tables, name = pipeline_runs.tables()
    known = pipeline_worlds.clean(tables, MONTH)
    closed = model_training.closed_deals(features.build(known), known["sales_pipeline"])
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        areas = list(pool.map(partial(pipeline_worlds.permuted_auc, closed, MONTH), range(PERMUTATIONS)))
    return {
        "tables": name,
        "seeds": len(areas),
        "mean_auc": round(float(np.mean(areas)), 4),
        "deviation": round(float(np.std(areas, ddof=1)), 4),
    }


def _levels(seed: int, deals: int) -> list[str]:
    world = pipeline_worlds.prepare(seed, deals)
    return [
        pipeline_worlds.monitor(world, pipeline_worlds.clean(world.tables, month), month).level
        for month in pipeline_worlds.CALM
    ]


def _found(seed: int, deals: int) -> dict[str, list[bool]]:
    world = pipeline_worlds.prepare(seed, deals)
    calm = pipeline_worlds.clean(world.tables, pipeline_worlds.PLANTED)
    return {
        name: [
            pipeline_worlds.is_alarm(
                pipeline_worlds.monitor(
                    world, plant(calm, strength, np.random.default_rng(seed)), pipeline_worlds.PLANTED
                )
            )
            for strength in strengths
        ]
        for name, (plant, strengths) in pipeline_worlds.PLANTS.items()
    }


def alarms_table(found: dict[str, Any]) -> list[str]:
    """Return the rows of the table in docs/pipelines.md, with 95% intervals (Clopper and Pearson 1934)."""
    lines = ["| Deals a month | Months without drift | Alarms | Share (95%) |", "|---|---|---|---|"]
    counts = [(size, found[size]["months"], found[size]["alarms"]) for size in sorted(found, key=int)]
    pooled = ("all", sum(months for _, months, _ in counts), sum(alarms for _, _, alarms in counts))
    for size, months, raised in [*counts, pooled]:
        low, high = stats.binomtest(raised, months).proportion_ci()
        lines.append(f"| {size} | {months} | {raised} | {raised / months:.1%} ({low:.1%} to {high:.1%}) |")
    return lines


def hits_table(found: dict[str, Any]) -> list[str]:
    sizes = sorted(found, key=int)
    lines = [
        f"| Planted in the month | {' | '.join(f'{size} deals' for size in sizes)} |",
        f"|---|{'---|' * len(sizes)}",
    ]
    for name in pipeline_worlds.PLANTS:
        shares = (", ".join(f"{share:.0%}" for share in found[size][name]) for size in sizes)
        lines.append(f"| {name} | {' | '.join(shares)} |")
    return lines


def permuted_table(found: dict[str, Any]) -> list[str]:
    words = f"mean {found['mean_auc']:.3f}, standard deviation {found['deviation']:.3f}, {found['seeds']} seeds"
    return [f"AUC with permuted outcomes: {words}, {found['tables']} tables."]


def flows_table(found: dict[str, Any]) -> list[str]:
    lines = ["| Flow | Seconds | of the processor | Peak memory |", "|---|---|---|---|"]
    timed = {name: values for name, values in found.items() if isinstance(values, dict)}
    return [
        *lines,
        *(
            f"| `{name}` | {each['seconds']:.1f} | {each['processor_seconds']:.1f} | {each['mb']} MB |"
            for name, each in timed.items()
        ),
    ]


def rows_table(found: dict[str, Any]) -> list[str]:
    factors = sorted(found, key=int)
    steps = list(found[factors[0]]["seconds"])
    lines = [f"| Step | {' | '.join(f'{factor} times' for factor in factors)} |", f"|---|{'---|' * len(factors)}"]
    for step in steps:
        lines.append(f"| {step} | {' | '.join(f'{found[factor]["seconds"][step]:.2f} s' for factor in factors)} |")
    lines.append(f"| deals | {' | '.join(f'{found[factor]["deals"]:,}' for factor in factors)} |")
    lines.append(f"| peak memory | {' | '.join(f'{found[factor]["mb"]} MB' for factor in factors)} |")
    return lines


PARTS: dict[str, Callable[[Options], dict[str, Any]]] = {
    "flows": flows,
    "alarms": alarms,
    "hits": hits,
    "permuted": permuted,
    "rows": rows,
}
TABLES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "flows": flows_table,
    "alarms": alarms_table,
    "hits": hits_table,
    "permuted": permuted_table,
    "rows": rows_table,
}

if __name__ == "__main__":
    sys.exit(main())
