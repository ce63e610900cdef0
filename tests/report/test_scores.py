import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.report.scores import confident_mistakes, confusion, gate_recalls, paired_interval, result_rows

CLASSES = ["a", "b", "c"]
answers = st.lists(
    st.tuples(
        st.sampled_from(CLASSES), st.sampled_from(CLASSES), st.sampled_from(CLASSES), st.sampled_from([0.4, 0.7, 0.9])
    ),
    min_size=1,
    max_size=40,
)


def frame(rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["label", "prediction", "supervised", "score"])
    return table.assign(image_id=[f"i{number:03d}" for number in range(len(table))])


def entry(rows: list[tuple[str, str, str, float]]) -> dict:
    counts = [[sum(r[0] == true and r[1] == seen for r in rows) for seen in CLASSES] for true in CLASSES]
    return {"classes": CLASSES, "confusion": counts}


def test_the_interval_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(CLASSES, 2000)
    one = np.where(rng.random(2000) < 0.6, labels, "none")
    two = np.where(rng.random(2000) < 0.5, labels, "none")
    low, high = paired_interval(pd.DataFrame({"label": labels, "prediction": one, "supervised": two}))
    gain = (one == labels).astype(int) - (two == labels).astype(int)
    means = [rng.choice(gain, 2000).mean() for _ in range(2000)]
    np.testing.assert_allclose([low, high], np.quantile(means, [0.025, 0.975]), atol=0.004)


def test_without_the_supervised_answers_there_is_no_interval() -> None:
    table = frame([("a", "a", "b", 0.9), ("b", "a", "b", 0.9)])
    assert paired_interval(table.head(1)) is None
    assert paired_interval(table.drop(columns="supervised")) is None
    assert paired_interval(table.assign(supervised=None)) is None


@settings(max_examples=50, deadline=None)
@given(answers)
def test_mistakes_are_the_wrong_answers_by_score(rows: list[tuple[str, str, str, float]]) -> None:
    found = confident_mistakes(frame(rows), 5)
    wrong = sorted((-score, f"i{n:03d}") for n, (label, seen, _, score) in enumerate(rows) if seen != label)
    assert list(zip(-found["score"], found["image_id"], strict=True)) == wrong[:5]


@settings(max_examples=50, deadline=None)
@given(answers)
def test_confusion_counts_and_mix_ups(rows: list[tuple[str, str, str, float]]) -> None:
    matrix = confusion(entry(rows), most=9)
    assert sum(map(sum, matrix.counts)) == len(rows)
    for counts, shares in zip(matrix.counts, matrix.shares, strict=True):
        np.testing.assert_allclose(shares, [n / sum(counts) if sum(counts) else 0 for n in counts])
    wrong: dict[tuple[str, str], int] = {}
    for label, seen, _, _ in rows:
        if label != seen:
            wrong[label, seen] = wrong.get((label, seen), 0) + 1
    assert {(a, b): n for a, b, n in matrix.pairs} == wrong
    assert [n for *_, n in matrix.pairs] == sorted(wrong.values(), reverse=True)


def test_recalls_at_the_gate_begin_with_the_largest_loss() -> None:
    found = [{"class": name, "recall": recall, "support": 9} for name, recall in (("a", 0.5), ("b", 0.9), ("c", 0.1))]
    champion = {"per_class_recall": {"a": 0.4, "b": 0.95}}
    rows = gate_recalls({"challenger": {"per_class": found}, "champion": champion})
    assert [row.name for row in rows] == ["b", "c", "a"]
    np.testing.assert_allclose([rows[0].change, rows[2].change], [-0.05, 0.1])
    assert rows[1].change is None
    assert [row.name for row in gate_recalls({"challenger": {"per_class": found}, "champion": None})] == ["a", "b", "c"]
    assert gate_recalls({"skipped": "there is no classifier"}) == []


def test_rows_set_each_model_beside_its_rivals() -> None:
    finetune = [
        {
            "label_fraction": 0.01,
            "labels": 500,
            "accuracy": 0.55,
            "macro_f1": 0.54,
            "supervised_accuracy": 0.5,
            "linear_accuracy": 0.45,
        },
        {"label_fraction": 0.1, "labels": 5000, "accuracy": 0.6, "macro_f1": 0.6, "supervised_accuracy": 0.62},
    ]
    rows = result_rows({"skipped": "no labels"}, finetune, frame([("a", "a", "b", 0.9), ("b", "b", "b", 0.9)]))
    assert [row.name for row in rows] == ["Fine-tuned", "Linear head", "Supervised from scratch"] * 2
    assert [row.registered for row in rows] == [True, *[False] * 5]
    gains = [row.gain for row in rows]
    assert [row.accuracy for row in rows[:3]] == [0.55, 0.45, 0.5]
    np.testing.assert_allclose([gains[0], gains[3]], [0.05, -0.02])
    assert rows[0].interval is not None
    assert rows[3].interval is None
