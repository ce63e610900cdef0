"""Following a stream for real: a champion, a new day, what became of it; and what other policies would have done."""

import json
import shutil
import sqlite3
import time

import pytest

from evergreen.images.layout import ImageLayout
from tasks.settings import CHECKOUT
from tasks.workspace import Workspace
from tests.flows.conftest import EVERGREEN, Place


@pytest.fixture
def branched(copied, tmp_path):
    """The copied workspace with a home of its own, whose registry starts as the shared one's."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(copied.home / "mlflow.db", home)
    return Place(copied.root, home)


def adapt(place, *options):
    return place.run(str(EVERGREEN), "adapt", "images", "--workdir", str(place.root), *options, folder=CHECKOUT)


def ledger(place):
    with sqlite3.connect(place.home / "ledger.db") as database:
        rows = database.execute(
            "select model_version, count(*), count(label) from evergreen_predictions p left join evergreen_labels l "
            "on p.domain = l.domain and p.example_id = l.example_id group by 1"
        ).fetchall()
    return {version: (count, labels) for version, count, labels in rows}


def test_champion_follows_its_stream(branched):
    workspace, layout = Workspace(branched.root), ImageLayout(branched.root)
    days = workspace.params["images"]["ingest"]["days"]
    workspace.update("images", {"ingest": {"days": days + 1}})
    followed = adapt(branched, "--policy", "head", "--trigger", "always")
    assert followed.code == 0, followed
    record = json.loads((layout.metrics / "adapt.json").read_text())
    assert [window["action"] for window in record["windows"]] in (["promoted"], ["adapted, not proven"])
    assert record["windows"][0]["start"] == f"2026-01-{days + 1:02d}T00:00:00+00:00"
    count, labels = ledger(branched)["1"]
    assert count == record["windows"][0]["rows"]
    assert labels > 0

    promoted = record["promotions"] == 1
    said = "The champion stays: there is no new window." if promoted else "Nothing new: every window was answered"
    assert said in adapt(branched).out
    assert ("version 2 is the champion" in followed.out) == promoted
    told = branched.run(
        str(EVERGREEN), "predictions", "images", "--model", "images-work",
        "--output", str(branched.home / "predictions.parquet"), folder=CHECKOUT,
    )  # fmt: skip
    assert told.code == 0, told
    assert f"{count:,} predictions of images-work" in told.out
    assert f"of {labels:,} labelled" in told.out


def test_backtest_compares_policies_and_an_interrupted_one_goes_on(copied):
    command = [str(EVERGREEN), "backtest", "images", "--workdir", str(copied.root), "--policies", "none,head"]
    states = (copied.home / "adaptation").glob
    before = set(states("*/backtests/*/state.json"))
    killed = copied.start(*command, folder=CHECKOUT)
    while killed.poll() is None and before.issuperset(states("*/backtests/*/state.json")):
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    done = copied.run(*command, folder=CHECKOUT)
    assert done.code == 0, done
    folder = ImageLayout(copied.root).backtest
    result = json.loads((folder / "backtest.json").read_text())
    assert [contender["name"] for contender in result["contenders"]] == ["none", "head"]
    for contender in result["contenders"]:
        assert all(0 <= window["accuracy"] <= 1 for window in contender["windows"])
        assert {"clean", "noisy"} == set(contender["test"])
    assert result["contenders"][0]["flops"] == 0
    assert (folder / "timeline.svg").read_text().lstrip().startswith("<?xml")
    assert (folder / "timeline.png").stat().st_size > 10_000
    assert "noisy test" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("adapt", "images", "--policy", "magic"), "No adaptation policy 'magic'. There are: none, head, finetune,"),
        (
            ("adapt", "images", "--trigger", "now"),
            "No adaptation trigger 'now'. There are: harm, drift, always, never.",
        ),
        (("backtest", "images", "--policies", "none,magic"), "No adaptation policy 'magic'."),
        (("adapt", "retail"), "No domain 'retail' to follow. There are: images."),
    ],
)
def test_bad_choice_is_one_message_before_anything_starts(arguments, message, tmp_path):
    place = Place(tmp_path / "work", tmp_path / "home")
    refused = place.run(str(EVERGREEN), *arguments, "--workdir", str(place.root), folder=CHECKOUT)
    assert refused.code == 2
    assert message in refused.err
    assert "Traceback" not in refused.err
    assert not place.root.exists()
