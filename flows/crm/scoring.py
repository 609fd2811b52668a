"""Scoring pipeline: the win probability of every open deal of a month, by the model that was current then."""

from typing import Any

import pandas as pd
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.crm import lake, lineage, model_cards, months, publication, scorer
from flows.crm.lake import Lake, Manifest
from flows.crm.model_cards import Card
from flows.crm.retries import DISK
from flows.crm.table_schema import Columns, Tables, typed

COLUMNS: Columns = {
    "opportunity_id": "text",
    "win_probability": "number",
    "account": "text",
    "product": "text",
    "sales_price": "number",
    "sales_agent": "text",
    "engage_date": "date",
    "model_version": "text",
}
ABOUT = "about.json"
SHOWN = 25  # deals in the artifact, the most probable first


@task(name="read the open deals and the model", cache_policy=NO_CACHE, **DISK)
def read_open_deals(place: Lake, month: str) -> tuple[Manifest, pd.DataFrame, Card, scorer.Model]:
    warn = get_run_logger().warning
    lineage.require_current(place, "features", month, warn)
    features, processed = place.manifest("features", month), place.manifest("processed", month)
    kept, card = model_cards.require_champion(place, month, warn)
    deals = open_deals(place.read(features)["deals"], place.read(processed))
    get_run_logger().info("Read %d open deals of %s, and the model %s.", len(deals), features.name, card["version"])
    return features, deals, card, scorer.decode(place.document(kept, model_cards.MODEL))


def open_deals(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Return the deals without an outcome, with the name of their account."""
    names = tables["sales_pipeline"].set_index("opportunity_id")["account"]
    return deals[deals["won"].isna()].assign(account=lambda frame: frame["opportunity_id"].map(names))


def rank(deals: pd.DataFrame, model: scorer.Model, version: str) -> pd.DataFrame:
    """Return the scores of deals, the most probable first and always in the same order."""
    scores = typed(COLUMNS, deals.assign(win_probability=model(deals), model_version=version))
    return scores.sort_values(["win_probability", "opportunity_id"], ascending=[False, True], ignore_index=True)


@task(name="score the deals", cache_policy=NO_CACHE)
def score(deals: pd.DataFrame, model: scorer.Model, version: str) -> pd.DataFrame:
    scores = rank(deals, model, version)
    if len(scores):
        chances = scores["win_probability"]
        get_run_logger().info(
            "Scored %d deals: %.3f to %.3f, mean %.3f.", len(scores), chances.min(), chances.max(), chances.mean()
        )
    return scores


@task(name="save the scores", cache_policy=NO_CACHE, **DISK)
def save(place: Lake, month: str, scores: pd.DataFrame, card: Card, source: str) -> Manifest:
    about = {
        "month": month,
        "model_version": card["version"],
        "model_standing": model_cards.standing(card),
        "deals": len(scores),
    }
    documents = {ABOUT: lake.encode(about)}
    manifest = place.write("scores", month, {"deals": scores}, {"deals": COLUMNS}, source=source, documents=documents)
    get_run_logger().info("Wrote %s to %s.", manifest.name, place.store.name)
    return manifest


@task(name="publish the scores", cache_policy=NO_CACHE)
def publish(place: Lake, month: str, scores: pd.DataFrame, card: Card, manifest: Manifest) -> None:
    top = scores.head(SHOWN)
    standing = model_cards.STANDINGS[model_cards.standing(card)].lower()
    publication.fields(
        publication.SCORES,
        {
            "month": month,
            "model_version": card["version"],
            "model_standing": model_cards.standing(card),
            "deals": len(scores),
            "without_account": int(scores["account"].isna().sum()),
            "mean_win_probability": round(float(scores["win_probability"].mean()), 4) if len(scores) else None,
        },
        description=f"Scores of the open deals of {month}.",
    )
    create_table_artifact(
        table=rows(top),
        key="crm-open-deals",
        description=(
            f"{len(scores)} open deals of {month} scored by {card['version']} ({standing}), "
            f"the {len(top)} most probable ones."
        ),
    )
    publication.link("crm-scores-file", place.table_address(manifest, "deals"), f"Scores of {month} (Parquet)")
    publication.months_held(place)


def rows(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the scores in plain types, as JSON has them."""
    plain = scores.assign(
        win_probability=scores["win_probability"].round(4), engage_date=scores["engage_date"].dt.strftime("%Y-%m-%d")
    ).astype(object)
    columns = list(plain.columns)
    return [
        dict(zip(columns, values, strict=True))
        for values in plain.where(plain.notna(), None).itertuples(index=False, name=None)
    ]


@flow(name="open-deal-scoring", validate_parameters=False)
def open_deal_scoring(current_month: months.Month) -> dict[str, Any]:
    """Score the open deals of a month: the probability to win each, by the model that was current then.

    All scores are saved in the data lake, with the version of the model; the most probable deals are listed in the
    artifact of the run.

    Args:
        current_month: Month whose open deals are scored, as YYYY-MM. It must be ingested, and a model trained.
    """
    months.last_day(current_month)
    place = lake.from_environment()
    features, deals, card, model = read_open_deals(place, current_month)
    scores = score(deals, model, card["version"])
    manifest = save(place, current_month, scores, card, features.name)
    publish(place, current_month, scores, card, manifest)
    return {"month": current_month, "deals": len(scores), "model_version": card["version"]}
