"""What the terminal shows at the end, from the files and the flow's result."""

import pytest

from evergreen.files import write_json
from flows.image_summary import print_summary
from tasks.settings import CHECKOUT, Settings

JUDGED = {
    "outcome": "judged",
    "model": "images",
    "version": "3",
    "promoted": False,
    "reason": "gain found 0, needed 0.01",
}

RIVALS = {"linear_accuracy": 0.51, "supervised_accuracy": 0.48}


@pytest.fixture
def shown(tmp_path, capsys):
    """Prints the summary of a result over files of a workspace, and gives its lines by their first word."""
    metrics = tmp_path / "data/images/metrics"
    write_json(metrics / "probe.json", {"linear_accuracy": 0.6123, "knn_accuracy": 0.5, "n_test": 10000})
    write_json(metrics / "finetune.json", [{"label_fraction": 0.01, "accuracy": 0.55} | RIVALS])
    write_json(
        metrics / "drift.json", [{"start": "2026-01-01", "drift": False}, {"start": "2026-01-21", "drift": True}]
    )
    timing = {"seconds": 100.0, "step_seconds": {"pretrain": 75.0}, "orchestration_seconds": 25.0}
    write_json(metrics / "run.timing.json", timing | {"orchestration_share": 0.25})

    def show(**changes):
        settings = Settings(CHECKOUT, tmp_path, "sqlite:////store/mlflow.db", None)
        print_summary(settings, JUDGED | {"champion": "2", "workspace": str(tmp_path)} | changes)
        out = capsys.readouterr().out
        assert "\x1b" not in out, "no terminal, no colours"
        return {line.split()[0]: " ".join(line.split()[1:]) for line in out.splitlines() if line}

    show.metrics = metrics
    return show


def test_all_that_matters_is_there(shown):
    lines = shown()
    assert lines["model"] == "images version 3 is not promoted, version 2 stays champion: " + JUDGED["reason"]
    assert lines["probe"] == "linear 61.2%, kNN 50.0% of 10,000 test images"
    assert lines["fine-tune"] == "55.0% with 1% of the labels, linear head 51.0%, from scratch 48.0%"
    assert lines["drift"] == "in 1 of 2 windows, first 2026-01-21"
    assert lines["time"] == "1 min 40 s: pretrain 1 min 15 s"
    assert lines["of"].startswith("which 25.0 s (25%) orchestration")
    assert lines["report"].endswith("data/images/report.html")
    assert lines["record"].startswith("sqlite:////store/mlflow.db")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"champion": "3", "reason": "better"}, "images version 3 is the champion: better"),
        ({"champion": None, "reason": "floor"}, "images version 3 is not promoted, there is no champion yet: floor"),
        ({"outcome": "no labels", "version": None}, "images: no version, for want of labels"),
        ({"outcome": "nothing new"}, "images version 3, as before"),
    ],
)
def test_verdict_is_in_words(shown, changes, expected):
    assert shown(**changes)["model"] == expected


def test_nothing_new_shows_no_old_numbers(shown):
    assert set(shown(outcome="nothing new")) == {"model", "report", "record"}


def test_want_of_labels_is_told(shown):
    write_json(shown.metrics / "probe.json", {"skipped": "no labels"})
    write_json(shown.metrics / "finetune.json", [])
    lines = shown(outcome="no labels", version=None)
    assert lines["probe"] == "skipped: no labels"
    assert "fine-tune" not in lines


def test_want_of_a_test_set_is_told(shown):
    write_json(shown.metrics / "finetune.json", [{"label_fraction": 0.3}])
    assert shown()["fine-tune"] == "30% of the labels; there is no test set to measure on"
