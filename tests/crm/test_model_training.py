"""Training: what a model may have seen, how it is chosen and kept, and when it takes over."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from threadpoolctl import threadpool_limits

from flows.crm import candidates, features, lake, metrics, model_training, scorer
from flows.crm import inputs as crm_inputs
from flows.crm.candidates import outcomes
from flows.crm.failures import BadLake, TooFewDeals
from flows.crm.inputs import Numbers
from flows.crm.model_training import Current, Parts, Trained, Verdict
from flows.crm.scorer import Linear, Model, Tree
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
    assert not {"close_value", "close_date", "account", "won", "engage_date"} & set(crm_inputs.USED)
    assert set(crm_inputs.USED) <= set(features.FEATURES)


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


@pytest.mark.parametrize("kind", candidates.CANDIDATES)
def test_a_stored_model_answers_as_the_one_that_was_fitted(closed: pd.DataFrame, kind: str) -> None:
    """By scikit-learn's own predictions, for known and for unknown values."""
    parts, candidate = model_training.split(closed, MONTH), candidates.CANDIDATES[kind]
    inputs = crm_inputs.fit(parts.learning)
    strange = closed.head(40).assign(product="Something new", sector="unknown", revenue=np.nan, is_domestic=pd.NA)
    deals = pd.concat([closed, without_account(closed).head(40), strange.astype(closed.dtypes.to_dict())])
    with threadpool_limits(1):
        fitted = candidate.fit(crm_inputs.fill(inputs(parts.learning)), outcomes(parts.learning), inputs)
        calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), method="sigmoid")
        calibrated.fit(inputs(parts.comparing), outcomes(parts.comparing))
    ours = candidates.fit(kind, parts.learning, parts.comparing)
    assert ours.slope > 0
    np.testing.assert_allclose(ours(deals), calibrated.predict_proba(inputs(deals))[:, 1], atol=1e-9)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"kind": "a pickle"}', b'{"kind": "boosted-trees", "scorer": {}}'])
def test_a_model_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(BadLake, match=r"^The model in the lake is of a kind that cannot be read"):
        scorer.decode(content)


def without_account(deals: pd.DataFrame) -> pd.DataFrame:
    return deals.assign(
        sector="unknown", revenue=np.nan, employees=pd.NA, is_domestic=pd.NA, is_subsidiary=pd.NA
    ).astype(deals.dtypes.to_dict())


def test_unseen_and_rare_categories_are_unknown(closed: pd.DataFrame) -> None:
    inputs = crm_inputs.fit(closed)
    assert "unknown" not in inputs.categories["sector"]
    product = crm_inputs.USED.index("product")
    assert np.isnan(inputs(closed.head(1).assign(product="Something new"))[0, product])
    rare = closed.assign(product=["Seldom sold"] * 9 + closed["product"].tolist()[9:])
    assert "Seldom sold" not in crm_inputs.fit(rare).categories["product"]


@pytest.mark.parametrize("kind", candidates.CANDIDATES)
def test_a_deal_without_an_account_is_an_average_one(closed: pd.DataFrame, kind: str) -> None:
    parts = model_training.split(closed, MONTH)
    model = candidates.fit(kind, parts.learning, parts.comparing)
    known = model(parts.judging)
    unknown = model(without_account(parts.judging))
    assert known.min() < unknown.min()
    assert unknown.max() < known.max()
    assert unknown.mean() == pytest.approx(known.mean(), abs=0.03)


@pytest.mark.parametrize("kind", candidates.CANDIDATES)
@pytest.mark.parametrize(("lost", "won"), [(0.3, 0.05), (1.0, 0.0)])
def test_an_account_that_is_missing_by_outcome_does_not_give_it_away(
    closed: pd.DataFrame, kind: str, lost: float, won: float
) -> None:
    """Outcomes are drawn by lot, so an AUC away from one half is a leak. One model has a margin of about 0.05."""
    areas = []
    for seed in range(5):
        draws = np.random.default_rng(seed)
        lot = closed.assign(won=pd.array(draws.random(len(closed)) < 0.6, dtype="boolean"))
        missing = draws.random(len(lot)) < np.where(lot["won"], won, lost)
        deals = lot.where(pd.Series(~missing, lot.index), without_account(lot))
        parts = model_training.split(deals, MONTH)
        model = candidates.fit(kind, parts.learning, parts.comparing)
        areas.append(metrics.auc(model(parts.judging), outcomes(parts.judging)))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)


def test_unknown_values_are_filled_whatever_the_outcome() -> None:
    known: Numbers = np.arange(4.0 * len(crm_inputs.USED)).reshape(4, -1)
    matrix = known.copy()
    matrix[np.ix_([0, 1], crm_inputs.ACCOUNT)] = np.nan
    filled = crm_inputs.fill(matrix)
    assert not np.isnan(filled).any()
    accounts = {tuple(row) for row in known[2:, crm_inputs.ACCOUNT]}
    assert {tuple(row) for row in filled[:, crm_inputs.ACCOUNT]} <= accounts, "an account is taken as a whole"
    np.testing.assert_array_equal(filled[2:], known[2:])
    nothing = np.full((4, len(crm_inputs.USED)), np.nan)
    np.testing.assert_array_equal(crm_inputs.fill(nothing), np.zeros_like(nothing))


def test_without_any_account_a_model_is_trained_on_the_rest(closed: pd.DataFrame) -> None:
    trained = model_training.train(without_account(closed), MONTH, None)
    assert json.loads(lake.encode(trained.model.as_json()))
    assert np.isfinite(trained.model(closed)).all()


def test_a_model_that_ranks_the_wrong_way_round_says_the_base_rate(closed: pd.DataFrame) -> None:
    parts = model_training.split(closed, MONTH)
    turned = parts.comparing.assign(won=~parts.comparing["won"])
    model = candidates.fit("logistic-regression", parts.learning, turned)
    assert model.slope == 0, "what was learnt is never turned round"
    np.testing.assert_allclose(model(closed), outcomes(turned).mean())


def test_too_few_deals_are_refused(closed: pd.DataFrame) -> None:
    with pytest.raises(TooFewDeals, match=r"^2017-01 has 200 closed deals, and training needs 300: choose"):
        model_training.split(closed.head(200), "2017-01")
    with pytest.raises(TooFewDeals, match=r"^2017-01 has too few won or lost deals in one stretch of time"):
        model_training.split(closed.assign(won=pd.array([True] * len(closed), dtype="boolean")), "2017-01")


def current(model: Model, parts: Parts) -> Current:
    return Current("2017-05-abcdef01", model, parts.learning["close_date"].max())


def guessing(model: Model) -> Model:
    return replace(model, slope=0.0)


def misleading(model: Model) -> Model:
    return replace(model, slope=-1.0)


def gated(trained: Trained, model: Model, now: Current | None) -> Verdict:
    before = trained.parts.learning["won"].astype(float).mean()
    return model_training.gate(model, trained.parts, now, rate=float(before))


def test_a_first_model_that_knows_something_is_promoted(trained: Trained) -> None:
    assert trained.verdict.standing == "promoted"
    assert trained.verdict.promoted
    assert trained.verdict.champion is None


def test_a_first_model_that_is_worse_than_guessing_is_in_use_and_not_promoted(trained: Trained) -> None:
    verdict = gated(trained, misleading(trained.model), None)
    assert verdict.standing == "provisional"
    assert not verdict.promoted
    assert verdict.as_json()["promoted"] is False


def test_a_model_that_is_as_good_takes_over(trained: Trained) -> None:
    verdict = gated(trained, trained.model, current(trained.model, trained.parts))
    assert verdict.promoted
    assert verdict.champion_version == "2017-05-abcdef01"
    assert verdict.deals == len(trained.parts.judging)


def test_a_better_model_takes_over_from_one_that_is_worse_than_guessing(trained: Trained) -> None:
    assert gated(trained, trained.model, current(misleading(trained.model), trained.parts)).promoted


def test_of_two_that_are_worse_than_guessing_the_newer_is_in_use(trained: Trained) -> None:
    worse = misleading(trained.model)
    verdict = gated(trained, worse, current(worse, trained.parts))
    assert verdict.standing == "provisional"


def test_a_model_that_is_worse_does_not(trained: Trained) -> None:
    verdict = gated(trained, guessing(trained.model), current(trained.model, trained.parts))
    assert verdict.standing == "rejected"
    assert verdict.champion_version
    assert verdict.champion_version in verdict.reason
    assert verdict.champion
    assert verdict.challenger
    assert verdict.champion.auc > verdict.challenger.auc == 0.5


def test_without_deals_that_neither_has_seen_nothing_is_decided(trained: Trained) -> None:
    seen = replace(current(trained.model, trained.parts), seen_until=trained.parts.judging["close_date"].max())
    verdict = gated(trained, trained.model, seen)
    assert verdict.standing == "rejected"
    assert "Only 0 deals" in verdict.reason


def test_the_card_is_json_that_tells_all(trained: Trained) -> None:
    card = json.loads(lake.encode(trained.card("features 2017-08")))
    assert card["version"] == trained.version
    assert card["version"].startswith("2017-08-")
    assert card["promoted"] is True
    assert card["standing"] == card["gate"]["standing"] == "promoted"
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
    matrix: Numbers = np.array([[1.0, 2.0], [0.0, 1.0], [np.nan, np.nan]])
    np.testing.assert_allclose(Linear(0.5, [[3.0, 4.0]], [1.0], [-1.0])(matrix), [3.5, 3.5, 0.5])


def test_a_tree_sends_each_deal_to_its_leaf() -> None:
    tree = Tree(
        column=[0, 1, 0, 0, 0],
        threshold=[0.0, 5.0, 0.0, 0.0, 0.0],
        chosen=[[1, 3], None, None, None, None],
        unknown_left=[False, True, False, False, False],
        left=[1, 3, -1, -1, -1],
        right=[2, 4, -1, -1, -1],
        value=[0.0, 0.0, 10.0, 20.0, 30.0],
    )
    matrix: Numbers = np.array([[1, 5], [3, 6], [2, 0], [np.nan, 0], [3, np.nan]], dtype=np.float64)
    np.testing.assert_allclose(tree(matrix), [20, 30, 10, 10, 20])
