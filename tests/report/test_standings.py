"""Who is compared with whom, and in which order models are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.report.standings import Lead, lead, model_rows, score_sentence

NAMES = ("evergreen", "evergreen-small", "tsunami", "static", "static-2")
scores = st.dictionaries(st.sampled_from(NAMES), st.none() | st.floats(0, 1), min_size=1)


def models_of(found: dict[str, float | None]) -> dict[str, dict[str, float | None]]:
    return {name: {"macro_f1": score, "auc": 0.5} for name, score in found.items()}


@pytest.mark.parametrize(
    ("main", "rival"),
    [("evergreen", "static-2"), ("evergreen-small", "static-2"), ("tsunami", "static-2"), ("static", "evergreen")],
)
def test_variants_of_the_main_model_are_no_rivals(main: str, rival: str) -> None:
    models = models_of({"evergreen": 0.9, "evergreen-small": 0.8, "static": 0.7, "static-2": 0.95, "tsunami": 0.1})
    found = lead(models, main)
    assert found is not None
    assert found.rival == rival
    assert found.gain == pytest.approx((models[main]["macro_f1"] or 0) - (models[rival]["macro_f1"] or 0))


@pytest.mark.parametrize(
    ("found", "main"),
    [({}, None), ({"evergreen": 0.9}, "evergreen"), ({"evergreen": None, "static": 0.5}, "evergreen"),
     ({"evergreen": 0.9, "static": None}, "evergreen"), ({"static": 0.5}, "evergreen")],
)  # fmt: skip
def test_without_two_scores_there_is_no_lead(found: dict[str, float | None], main: str | None) -> None:
    assert lead(models_of(found), main) is None
    assert score_sentence("It is measured", None) == "It is measured."


def test_a_lead_is_told_with_its_sign() -> None:
    assert [Lead("static", gain).card().tone for gain in (0.01, 0.0, -0.01)] == ["good", "bad", "bad"]
    assert Lead("static", -0.012).card().value == "−1.2"
    assert score_sentence("It", Lead("static", 0.0)) == "It, 0.0 points above static, the best of the others."


@given(scores, st.sampled_from(NAMES))
def test_the_main_model_comes_first_and_the_others_by_score(found: dict[str, float | None], main: str) -> None:
    rows = model_rows(models_of(found), main, ("auc",), lambda name: f"about {name}")
    assert sorted(row["name"] for row in rows) == sorted(found)
    assert [row["main"] for row in rows] == [main in found, *[False] * (len(found) - 1)]
    others = [row["macro_f1"] or 0.0 for row in rows if not row["main"]]
    assert others == sorted(others, reverse=True)
    best = found.get(main)
    for row in rows:
        assert (row["auc"], row["note"], row["seeds"]) == (0.5, f"about {row['name']}", None)
        missing = best is None or row["macro_f1"] is None or row["main"]
        assert row["gain"] == (None if missing else best - row["macro_f1"])
