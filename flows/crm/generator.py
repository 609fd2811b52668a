"""Generated CRM tables with the flaws of real ones, and the true win probability of every deal.

Every random number is a hash of its purpose (seed, deal, question), never of a clock or of the number before it. So the
same recipe gives the same tables on every machine, and another month or more drift changes no other deal.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import NormalDist
from typing import Any

import pandas as pd

from flows.crm import world
from flows.crm.months import last_day, months_between
from flows.crm.table_schema import SHAPES, Tables, typed

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BASE_CHANCE = 0.55  # log-odds; about 63 deals in 100 are won
REPRICING = 0.9  # log-odds that full drift subtracts from every deal
STUCK = 0.13  # share of deals that are never closed
NO_ACCOUNT = 0.68  # share of open deals without an account
SEASON = {1: 0.6, 2: 1.0, 3: 1.3, 4: 1.2, 5: 1.1, 6: 1.2, 7: 1.6, 8: 1.2, 9: 1.2, 10: 0.7, 11: 0.6, 12: 0.6}


@dataclass(frozen=True, slots=True)
class Recipe:
    """`drift` is from 0 (none) to 1, and affects deals engaged in `drift_from` or later."""

    seed: int = 1
    first_month: str = "2016-10"
    last_month: str = "2017-12"
    deals_a_month: int = 550
    prospects: int = 500
    drift: float = 0.0
    drift_from: str = "2017-07"


@dataclass(frozen=True, slots=True)
class Generated:
    tables: Tables
    win_probability: pd.Series  # true probability by opportunity_id, prospects included


@dataclass(frozen=True, slots=True)
class Draws:
    """Uniform random numbers from 0 to 1, one per question, the same for the same words."""

    words: tuple[object, ...]

    def __call__(self, question: str) -> float:
        text = "|".join(str(word) for word in (*self.words, question))
        # 53 bits: all that a float holds, so the same on every platform.
        return (int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 11) / 2**53

    def normal(self, question: str, mean: float = 0.0, spread: float = 1.0) -> float:
        # Clipped, because the inverse of the distribution is infinite at 0 and 1.
        return NormalDist(mean, spread).inv_cdf(min(max(self(question), 1e-12), 1 - 1e-12))

    def choose[T](self, question: str, options: Sequence[T], weights: Sequence[float]) -> T:
        left = self(question) * sum(weights)
        for option, weight in zip(options, weights, strict=True):
            left -= weight
            if left < 0:
                return option
        return options[-1]  # rounding left a rest of the weights

    def name(self) -> str:
        number = int.from_bytes(hashlib.blake2b(repr(self.words).encode(), digest_size=8).digest())
        return "".join(ALPHABET[number // 36**place % 36] for place in range(8))


def generate(recipe: Recipe = Recipe()) -> Generated:
    """Return all tables of a recipe, and the true probabilities."""
    accounts = _accounts(recipe)
    deals: dict[str, dict[str, Any]] = {}
    for month in months_between(recipe.first_month, recipe.last_month):
        for number in range(round(recipe.deals_a_month * SEASON[last_day(month).month])):
            draws = Draws((recipe.seed, month, number))
            deals[draws.name()] = _deal(recipe, draws, accounts, month)
    for number in range(recipe.prospects):
        draws = Draws((recipe.seed, "prospect", number))
        deals[draws.name()] = _deal(recipe, draws, accounts, None)
    rows = pd.DataFrame([{"opportunity_id": name, **deal} for name, deal in deals.items()])
    sources: dict[str, pd.DataFrame] = {
        "accounts": pd.DataFrame(accounts),
        "products": pd.DataFrame(world.PRODUCTS),
        "sales_teams": pd.DataFrame(world.TEAMS),
        "sales_pipeline": rows,
    }
    return Generated(
        {name: typed(shape.columns, sources[name]) for name, shape in SHAPES.items()},
        rows.set_index("opportunity_id")["chance"].rename("win_probability"),
    )


def chance_to_win(recipe: Recipe, agent: str, product: str, account: dict[str, Any], *, drift: float) -> float:
    """Return the true win probability. Drift reverses which sectors buy, and makes every deal harder."""
    odds = (
        BASE_CHANCE
        + Draws((recipe.seed, "skill", agent)).normal("skill", spread=0.45)
        + world.APPEAL[product]
        + world.FIT[account["sector"]] * (1 - 2 * drift)
        + 0.25 * math.log(account["employees"] / 2500)
        - REPRICING * drift
    )
    return 1 / (1 + math.exp(-odds))


def _accounts(recipe: Recipe) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in world.ACCOUNTS:
        draws = Draws((recipe.seed, "account", name))
        employees = max(9, round(math.exp(draws.normal("employees", mean=7.9, spread=1.1))))
        rows.append(
            {
                "account": name,
                "sector": draws.choose("sector", list(world.SECTORS), list(world.SECTORS.values())),
                "year_established": 1979 + int(draws("year") * 38),
                "revenue": round(employees * math.exp(draws.normal("revenue", mean=-0.95, spread=0.25)), 2),
                "employees": employees,
                "office_location": draws.choose("office", world.OFFICES, [80.0] + [1.4] * 14),
                "subsidiary_of": draws.choose("parent", [None, *world.ACCOUNTS[:5]], [80.0] + [3.5] * 5),
            }
        )
    # A company is not its own subsidiary.
    return [{**row, "subsidiary_of": None} if row["subsidiary_of"] == row["account"] else row for row in rows]


def _deal(recipe: Recipe, draws: Draws, accounts: list[dict[str, Any]], month: str | None) -> dict[str, Any]:
    drift = recipe.drift if month is not None and month >= recipe.drift_from else 0.0
    account = draws.choose("account", accounts, [1.0] * len(accounts))
    agent = draws.choose("agent", world.SELLERS, [1.0 + 2.0 / (place + 1) for place in range(30)])
    product = _product(draws, drift)
    chance = chance_to_win(recipe, agent, product, account, drift=drift)
    won = draws("outcome") < chance
    end = last_day(recipe.last_month)
    engaged = None if month is None else last_day(month).replace(day=1 + int(draws("day") * last_day(month).day))
    closed = None if engaged is None else _closing_day(draws, engaged, won)
    is_closed = closed is not None and closed <= end
    value = max(1, round(world.LIST_PRICE[product] * draws.normal("price", mean=1.0, spread=0.1)))
    return {
        "sales_agent": agent,
        "product": world.MISSPELT_PRODUCTS.get(product, product),
        "account": account["account"] if is_closed or draws("account known") >= NO_ACCOUNT else None,
        "deal_stage": "Prospecting" if engaged is None else ("Won" if won else "Lost") if is_closed else "Engaging",
        "engage_date": engaged,
        "close_date": closed if is_closed else None,
        "close_value": (value if won else 0) if is_closed else None,
        "chance": chance,
    }


def _product(draws: Draws, drift: float) -> str:
    """Choose a product. Drift moves demand from cheap to expensive products."""
    expensive = {name: price > 2000 for name, price in world.LIST_PRICE.items()}
    weights = [weight * (1 + drift if expensive[name] else 1 - 0.6 * drift) for name, weight in world.DEMAND.items()]
    return draws.choose("product", list(world.DEMAND), weights)


def _closing_day(draws: Draws, engaged: date, won: bool) -> date | None:
    """Return the closing day: within three weeks, or after 50 to 138 days; lost deals close sooner. None: never."""
    if draws("stuck") < STUCK:
        return None
    quick = draws("quick") < (0.42 if won else 0.6)
    days = 1 + int(draws("days") * 20) if quick else 50 + int(draws("days") * 89)
    return engaged + timedelta(days=days)
