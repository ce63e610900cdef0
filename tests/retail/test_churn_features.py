import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.retail.features import Encoder, previous_gap


def made_up(rows: int, periods: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    frequency = rng.integers(0, 4, (rows, periods))
    frequency[:, -1] += 1
    recency = np.where(frequency > 0, rng.integers(0, 120, (rows, periods)), -1)
    money = frequency * rng.lognormal(3, 1, (rows, periods))
    return np.stack([recency, frequency, money], axis=2).reshape(rows, -1).astype(float)


@pytest.mark.parametrize("periods", [1, 2, 3, 5])
def test_an_examples_code_depends_on_that_example_alone(periods: int) -> None:
    features = made_up(50, periods)
    encoder = Encoder.fit(features, 120, 120)
    together = encoder(features)
    one_by_one = np.vstack([encoder(features[[i]]) for i in range(50)])
    np.testing.assert_array_equal(together, one_by_one)
    assert together.shape == (50, encoder.width)
    assert np.isfinite(together).all()


@settings(deadline=None, max_examples=20)
@given(st.floats(1e-3, 1e3))
def test_the_currency_does_not_matter(rate: float) -> None:
    features, other = made_up(40), made_up(40)
    other[:, 2::3] *= rate
    codes = Encoder.fit(features, 120, 120)(features)
    np.testing.assert_allclose(Encoder.fit(other, 120, 120)(other), codes, atol=1e-3)


@pytest.mark.parametrize("money", [0.0, -5.0, 1e12])
def test_odd_amounts_stay_finite(money: float) -> None:
    features = made_up(10)
    features[0, 2::3] = money
    assert np.isfinite(Encoder.fit(features, 120, 120)(features)).all()
    assert np.isfinite(Encoder.fit(features[:1], 120, 120)(features)).all()


def test_json_keeps_the_code() -> None:
    features = made_up(20)
    encoder = Encoder.fit(features, 30, 60)
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    np.testing.assert_array_equal(again(features), encoder(features))


def test_the_previous_gap_is_counted_between_purchases() -> None:
    # bought 10 days ago, before that 120 + 30 and 240 + 5 days ago
    row = np.array([[5.0, 1, 9.0, 30.0, 1, 9.0, 10.0, 1, 9.0]])
    assert previous_gap(row, 120).tolist() == [140.0]
    row[0, 3:6] = -1, 0, 0
    assert previous_gap(row, 120).tolist() == [235.0]
    row[0, 0:3] = -1, 0, 0
    assert previous_gap(row, 120).tolist() == [360.0]
