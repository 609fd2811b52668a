"""Training: what a model may have seen, how it is chosen and kept, and when it takes over."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from flows.crm import candidates, lake, metrics, model_training, scorer
from flows.crm import encoder as crm_encoder
from flows.crm.candidates import outcomes
from flows.crm.encoder import Numbers
from flows.crm.failures import BadLake, TooFewDeals
from flows.crm.model_training import Current, Parts, Trained
from flows.crm.scorer import Linear, Model, Trees
from tests.crm import generated

MONTH = generated.CURRENT


@pytest.fixture(scope="module")
def closed() -> pd.DataFrame:
    return generated.month(generated.world().tables, MONTH).closed


@pytest.fixture(scope="module")
def trained(closed: pd.DataFrame) -> Trained:
    return model_training.train(closed, MONTH, None)


def test_what_is_judged_on_closed_after_all_that_was_learnt_from(closed: pd.DataFrame) -> None:
    parts = model_training.split(closed, MONTH)
    assert len(parts.learning) + len(parts.comparing) + len(parts.judging) == len(closed)
    assert parts.learning["close_date"].max() < parts.comparing["close_date"].min()
    assert parts.comparing["close_date"].max() < parts.judging["close_date"].min()
    assert 0.5 < len(parts.learning) / len(closed) <= 0.6


def test_nothing_that_gives_the_outcome_away_is_learnt_from() -> None:
    assert not {"close_value", "close_date", "account", "won", "engage_date"} & set(crm_encoder.USED)


def test_later_outcomes_do_not_reach_the_model(closed: pd.DataFrame, trained: Trained) -> None:
    """Turn round every outcome that is judged on: the model must not notice."""
    later = closed["close_date"] >= trained.parts.judging["close_date"].min()
    turned = closed.assign(won=closed["won"].where(~later, ~closed["won"]))
    assert model_training.train(turned, MONTH, None).model == trained.model
    earlier = closed.assign(won=closed["won"].where(later, ~closed["won"]))
    assert model_training.train(earlier, MONTH, None).model != trained.model, "the change was a real one"


def test_the_order_of_the_rows_makes_no_difference(trained: Trained) -> None:
    month = generated.month(generated.world().tables, MONTH)
    pipeline = month.closed[["opportunity_id", "close_date"]]
    shuffled = model_training.closed_deals(month.deals.sample(frac=1, random_state=1), pipeline)
    assert model_training.train(shuffled, MONTH, None).version == trained.version


def test_the_truth_is_nearly_reached(closed: pd.DataFrame, trained: Trained) -> None:
    truth = generated.world().win_probability
    known = truth[trained.parts.judging["opportunity_id"]].to_numpy()
    best = metrics.auc(known, outcomes(trained.parts.judging))
    assert trained.quality.auc > 0.55
    assert trained.quality.auc > best - 0.1
    assert trained.quality.log_loss < trained.base_rate_log_loss


def test_on_noise_the_model_says_that_it_knows_nothing(closed: pd.DataFrame) -> None:
    coin = np.random.default_rng(0).random(len(closed)) < 0.6
    found = model_training.train(closed.assign(won=pd.array(coin, dtype="boolean")), MONTH, None)
    assert found.quality.auc_low < 0.5 < found.quality.auc_high
    assert 0.45 < found.model(closed).mean() < 0.75
    assert found.quality.log_loss < found.base_rate_log_loss + 0.03, "and it is not sure of it either"


@pytest.mark.parametrize("kind", candidates.CANDIDATES)
def test_a_model_is_data_and_reads_back_as_it_was(closed: pd.DataFrame, kind: str) -> None:
    parts = model_training.split(closed, MONTH)
    model = candidates.fit(kind, parts.learning, parts.comparing)
    again = scorer.decode(lake.encode(model.as_json()))
    assert again == model
    np.testing.assert_array_equal(again(closed), model(closed))
    assert ((model(closed) > 0) & (model(closed) < 1)).all()


def test_trees_answer_as_those_that_were_grown(closed: pd.DataFrame) -> None:
    matrix, won = crm_encoder.fit(closed)(closed), outcomes(closed)
    grown = GradientBoostingClassifier(
        n_estimators=80, learning_rate=0.06, max_depth=2, min_samples_leaf=30, random_state=0
    ).fit(matrix, won)
    ours = candidates.CANDIDATES["boosted-trees"](matrix, won)
    assert isinstance(ours, Trees)
    np.testing.assert_allclose(ours(matrix), grown.decision_function(matrix), atol=1e-9)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"kind": "a pickle"}', b'{"kind": "boosted-trees", "scorer": {}}'])
def test_a_model_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(BadLake, match=r"^The model in the lake is of a kind that cannot be read"):
        scorer.decode(content)


def test_an_unseen_product_and_an_unknown_account_count_as_average(closed: pd.DataFrame, trained: Trained) -> None:
    encoder = trained.model.encoder
    strange = closed.head(1).assign(product="Something new", sector="unknown", revenue=np.nan)
    row = dict(zip(encoder.columns, encoder(strange)[0], strict=True))
    assert not [name for name, value in row.items() if name.startswith(("product =", "sector =")) and value]
    assert row["revenue"] == 0
    assert "sector = unknown" not in encoder.columns
    assert 0 < trained.model(strange)[0] < 1


def test_calibration_takes_scores_at_their_word_or_not(closed: pd.DataFrame) -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=4000)
    won = (generator.random(4000) < 1 / (1 + np.exp(-(0.7 * scores + 0.4)))).astype(float)
    slope, shift = candidates.calibrate(scores, won)
    assert slope == pytest.approx(0.7, abs=0.1)
    assert shift == pytest.approx(0.4, abs=0.1)
    slope, shift = candidates.calibrate(-scores, won)
    assert slope == candidates.FLATTEST, "what was learnt is never turned round"
    assert (1 / (1 + np.exp(-(slope * -scores + shift)))).mean() == pytest.approx(won.mean())


def test_too_few_deals_are_refused(closed: pd.DataFrame) -> None:
    with pytest.raises(TooFewDeals, match=r"^2017-01 has 200 closed deals, and training needs 300: choose"):
        model_training.split(closed.head(200), "2017-01")
    with pytest.raises(TooFewDeals, match=r"^2017-01 has too few won or lost deals in one stretch of time"):
        model_training.split(closed.assign(won=pd.array([True] * len(closed), dtype="boolean")), "2017-01")


def current(model: Model, parts: Parts) -> Current:
    return Current("2017-05-abcdef01", model, parts.learning["close_date"].max())


def guessing(model: Model) -> Model:
    return replace(model, slope=0.0)


def test_the_first_model_is_promoted(trained: Trained) -> None:
    assert trained.verdict.promoted
    assert trained.verdict.champion is None


def test_a_model_that_is_as_good_takes_over(trained: Trained) -> None:
    verdict = model_training.gate(trained.model, trained.parts, current(trained.model, trained.parts))
    assert verdict.promoted
    assert verdict.champion_version == "2017-05-abcdef01"
    assert verdict.deals == len(trained.parts.judging)


def test_a_model_that_is_worse_does_not(trained: Trained) -> None:
    verdict = model_training.gate(guessing(trained.model), trained.parts, current(trained.model, trained.parts))
    assert not verdict.promoted
    assert verdict.champion_version
    assert verdict.champion_version in verdict.reason
    assert verdict.champion
    assert verdict.challenger
    assert verdict.champion.auc > verdict.challenger.auc == 0.5


def test_without_deals_that_neither_has_seen_nothing_is_decided(trained: Trained) -> None:
    seen = replace(current(trained.model, trained.parts), seen_until=trained.parts.judging["close_date"].max())
    verdict = model_training.gate(trained.model, trained.parts, seen)
    assert not verdict.promoted
    assert "Only 0 deals" in verdict.reason


def test_the_card_is_json_that_tells_all(trained: Trained) -> None:
    card = json.loads(lake.encode(trained.card("features 2017-08")))
    assert card["version"] == trained.version
    assert card["version"].startswith("2017-08-")
    assert card["promoted"] is True
    assert card["better_than_base_rate"] is True
    assert card["seen_until"] == f"{trained.parts.comparing['close_date'].max():%Y-%m-%d}"
    assert set(card["candidates"]) == set(candidates.CANDIDATES)
    lost = [row["auc_lost"] for row in card["influence"]]
    assert lost == sorted(lost, reverse=True)


def test_progress_is_told(closed: pd.DataFrame) -> None:
    heard: list[float] = []
    model_training.train(closed, MONTH, None, lambda step, share: heard.append(share))
    assert heard == sorted(heard)
    assert heard[-1] == 1.0


def test_a_linear_score_is_the_sum_of_its_parts() -> None:
    matrix: Numbers = np.array([[1.0, 2.0], [0.0, 1.0]])
    np.testing.assert_allclose(Linear(0.5, [1.0, -1.0])(matrix), [-0.5, -0.5])
