"""Third pipeline of a month: trains a model on the closed deals, and puts it to use if it is good enough."""

from typing import Any

import pandas as pd
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.crm import lake, lineage, model_cards, model_training, months, publication, scorer
from flows.crm.lake import Lake, Manifest
from flows.crm.model_training import Current, Trained
from flows.crm.retries import DISK


@task(name="read the closed deals", cache_policy=NO_CACHE, **DISK)
def read_closed_deals(place: Lake, month: str) -> tuple[Manifest, pd.DataFrame]:
    lineage.require_current(place, "features", month, get_run_logger().warning)
    features, processed = place.manifest("features", month), place.manifest("processed", month)
    closed = model_training.closed_deals(place.read(features)["deals"], place.read(processed)["sales_pipeline"])
    get_run_logger().info("Read %d closed deals from %s.", len(closed), features.name)
    return features, closed


@task(name="read the current model", cache_policy=NO_CACHE, **DISK)
def read_current(place: Lake, month: str) -> Current | None:
    """Return the current model before this month: training a month again compares with the same one."""
    found = model_cards.champion(place, months.previous(month), get_run_logger().warning)
    if found is None:
        get_run_logger().info("No current model before %s.", month)
        return None
    manifest, card = found
    get_run_logger().info("The current model is %s.", card["version"])
    model = scorer.decode(place.document(manifest, model_cards.MODEL))
    return Current(card["version"], model, pd.Timestamp(card["seen_until"]))


@task(name="compare the candidates", cache_policy=NO_CACHE)
def compare(closed: pd.DataFrame, month: str, current: Current | None) -> Trained:
    logger, bar = get_run_logger(), publication.Bar("crm-training", f"Training of {month}")

    def report(step: str, share: float) -> None:
        bar(share)
        logger.info("Training %.0f%%: %s.", 100 * share, step)

    trained = model_training.train(closed, month, current, report)
    for kind, quality in trained.compared.items():
        logger.info("%s: log loss %.4f, AUC %.3f.", kind, quality.log_loss, quality.auc)
    quality = trained.quality
    logger.info(
        "Evaluated on %d later deals: AUC %.3f (%.3f to %.3f), log loss %.4f; guessing the base rate gives %.4f.",
        quality.deals,
        quality.auc,
        quality.auc_low,
        quality.auc_high,
        quality.log_loss,
        trained.base_rate_log_loss,
    )
    # Only a warning: on data without any signal no model is better, and the card says so.
    if not trained.is_better_than_guessing:
        logger.warning("The model is no better than guessing the base rate.")
    return trained


@task(name="save the model", cache_policy=NO_CACHE, **DISK)
def save(place: Lake, trained: Trained, source: str) -> Manifest:
    documents = {
        model_cards.CARD: lake.encode(trained.card(source)),
        model_cards.MODEL: lake.encode(trained.model.as_json()),
    }
    manifest = place.write("models", trained.month, {}, {}, source=source, documents=documents)
    get_run_logger().info("Wrote %s to %s.", manifest.name, place.store.name)
    return manifest


@task(name="publish the model", cache_policy=NO_CACHE)
def publish(place: Lake, trained: Trained, manifest: Manifest) -> None:
    card = trained.card(manifest.source)
    # `fields` writes the contract itself, as the first row.
    del card["contract"]
    publication.fields(publication.CARD, card, description=f"Model card of {trained.version}.")
    create_table_artifact(
        table=[{"candidate": kind, **quality.as_json()} for kind, quality in trained.compared.items()],
        key="crm-candidates",
        description=f"Candidates of {trained.month}, compared on deals that closed after those they learned from.",
    )
    create_markdown_artifact(markdown=summary(trained), key="crm-model", description=f"The model {trained.version}.")
    publication.link("crm-model-file", place.address(manifest, model_cards.MODEL), f"The model {trained.version}")
    publication.months_held(place)


def summary(trained: Trained) -> str:
    quality = trained.quality
    good = "better" if trained.is_better_than_guessing else "no better"
    verdict = trained.verdict
    # The five features that matter most; the model card has all of them.
    telling = ", ".join(f"{name} ({lost:+.3f})" for name, lost in list(trained.influence.items())[:5])
    return (
        f"# {trained.version}\n\n"
        f"**{model_cards.STANDINGS[verdict.standing]}.** {verdict.reason}\n\n"
        f"Model type *{trained.model.kind}*. On {quality.deals} deals that closed after those it learned from, "
        f"its AUC is **{quality.auc:.3f}** ({quality.auc_low:.3f} to {quality.auc_high:.3f}), its accuracy "
        f"{quality.accuracy:.1%}, its log loss {quality.log_loss:.4f}: {good} than guessing the base rate "
        f"({trained.base_rate_log_loss:.4f}).\n\n"
        f"AUC lost when a feature is shuffled: {telling}.\n"
    )


@flow(name="monthly-win-probability-training", validate_parameters=False)
def monthly_win_probability_training(current_month: months.Month) -> dict[str, Any]:
    """Train a model of the probability to win a deal, on the deals closed by the end of a month.

    The deals are split by closing date, so that a model is evaluated on later deals than it learned from. It becomes
    the current model if it is as good as the one before, on deals that neither has seen, and better than guessing the
    base rate. If none is, the best there is is used until then.

    Args:
        current_month: Month to train, as YYYY-MM. It must be ingested.
    """
    months.last_day(current_month)
    place = lake.from_environment()
    # The model is saved even if it is not promoted: its card explains the decision.
    features, closed = read_closed_deals(place, current_month)
    current = read_current(place, current_month)
    trained = compare(closed, current_month, current)
    manifest = save(place, trained, features.name)
    publish(place, trained, manifest)
    verdict = trained.verdict
    outcome = model_cards.STANDINGS[verdict.standing].lower()
    get_run_logger().info("%s: %s. %s", trained.version, outcome, verdict.reason)
    return {
        "month": current_month,
        "version": trained.version,
        "promoted": verdict.promoted,
        "standing": verdict.standing,
    }
