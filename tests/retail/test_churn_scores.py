import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from evergreen.retail.example_frames import NEVER
from evergreen.retail.protocol import RunInput, RunOutput, Stream
from evergreen.retail.scores import area, figures, over_seeds
from evergreen.retail.stream import plan


def run(view: str = "published", rows: int = 60, seed: int = 0) -> tuple[RunInput, RunOutput]:
    rng = np.random.default_rng(seed)
    told = np.sort(rng.integers(0, 20, rows)).astype(np.int64)
    features = np.column_stack([rng.integers(0, 5, rows), np.ones(rows), np.ones(rows)]).astype(float)
    asked = told - (rng.integers(0, 3, rows) if view == "default" else 0)
    stream = Stream(features, ("recency_1", "frequency_1", "monetary_1"), rng.random(rows) < 0.5, asked, told, told)
    data = plan(stream, view, None, 5, 5, 5, 0, 1)  # type: ignore[arg-type]
    output = RunOutput.empty(rows)
    output.scores[data.scored()] = rng.random(len(data.scored())).round(1)
    output.predictions[data.scored()] = output.scores[data.scored()] > 0.5
    return data, output


def test_figures_are_those_of_scikit_learn() -> None:
    data, output = run()
    asked, found = data.scored(), figures(*run())
    labels = data.stream.labels[asked]
    f_stay, f_churn = f1_score(labels, output.predictions[asked], average=None)
    assert found["macro_f1"] == pytest.approx((f_stay + f_churn) / 2)
    assert (found["f1_non_churn"], found["f1_churn"]) == (pytest.approx(f_stay), pytest.approx(f_churn))
    assert found["auc"] == pytest.approx(roc_auc_score(labels, output.scores[asked]))
    assert found["n_scored"] == len(asked)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20))
def test_the_area_counts_pairs(pairs: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    high, low = scores[labels][:, None], scores[~labels][None, :]
    expected = float(((high > low) + 0.5 * (high == low)).mean()) if high.size and low.size else None
    assert area(labels, scores) == pytest.approx(expected)


def test_matured_answers_are_those_whose_outcome_is_known_either_way() -> None:
    data, output = run("default")
    found = figures(data, output)
    stream = data.stream
    last = stream.told[stream.told < NEVER].max()
    expected = [r for r in data.scored() if stream.asked[r] + 5 - stream.features[r, 0] <= last]
    assert found["matured"]["n_scored"] == len(expected) < found["n_scored"]


def test_the_spread_is_largest_minus_smallest() -> None:
    found = over_seeds([figures(*run(seed=seed)) for seed in range(3)])
    assert found["seeds"] == 3
    assert found["spread"] == pytest.approx(max(found["by_seed"]) - min(found["by_seed"]))
    assert found["macro_f1"] == pytest.approx(np.mean(found["by_seed"]))
