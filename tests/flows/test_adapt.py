"""Following a stream for real: a champion of its first days, a new day, the proof, the next version; a backtest."""

import json
import shutil
import sqlite3

from evergreen.config import read_yaml
from evergreen.images.layout import ImageLayout
from tasks.settings import CHECKOUT
from tasks.workspace import Workspace
from tests.flows.conftest import EVERGREEN

LENIENT = """
adaptation:
  {min_rows: 1, floor_skill: 0.0, minimum_gain: -1.0, interval_floor: -1.0, old_margin: 1.0}
"""


def adapt(place, *options):
    return place.run(str(EVERGREEN), "adapt", "images", "--workdir", str(place.root), *options, folder=CHECKOUT)


def ledger(place):
    with sqlite3.connect(place.home / "ledger.db") as database:
        rows = database.execute(
            "select model_version, count(*), count(label) from evergreen_predictions p left join evergreen_labels l "
            "on p.domain = l.domain and p.example_id = l.example_id group by 1"
        ).fetchall()
    return {version: (count, labels) for version, count, labels in rows}


def lenient(place):
    """Let the gate of adaptations pass anything: here the way is tested, not whether ten steps of training help."""
    (place.root / "mlflow").unlink()
    shutil.copytree(CHECKOUT / "mlflow", place.root / "mlflow")
    policy = place.root / "mlflow" / "promotion.yaml"
    policy.write_text(policy.read_text().split("adaptation:")[0] + LENIENT)


def test_champion_follows_its_stream(new_place):
    place, workspace = new_place, Workspace(new_place.root)
    layout = ImageLayout(place.root)
    workspace.update("images", {"ingest": {"days": 6}})

    early = adapt(place)
    assert early.code == 0, early
    assert "There is no champion to follow the stream with." in early.out

    first = place.images()
    assert first.code == 0, first
    quiet = adapt(place, "--policy", "head")
    assert quiet.code == 0, quiet
    assert "The champion stays: there is no new window." in quiet.out
    assert "Nothing new: every window was answered" in adapt(place).out

    workspace.update("images", {"ingest": {"days": 7}})
    lenient(place)
    followed = adapt(place, "--trigger", "always")
    assert followed.code == 0, followed
    record = json.loads((layout.metrics / "adapt.json").read_text())
    assert [window["action"] for window in record["windows"]] == ["promoted"]
    assert "images-work: version 2 is the champion" in followed.out
    assert ledger(place)["1"][0] == record["windows"][0]["rows"]
    assert ledger(place)["1"][1] > 0

    listed = place.run(str(EVERGREEN), "models", "list", "--json", folder=CHECKOUT)
    versions = {entry["version"]: entry for entry in json.loads(listed.out)}
    assert "champion" in versions["2"]["aliases"]
    assert json.loads(versions["2"]["tags"]["decision"])["promote"] is True
    after = adapt(place)
    assert "The champion stays: there is no new window." in after.out
    assert read_yaml(workspace.params_file)["images"]["champion"] == versions["2"]["tags"]["weights_sha256"]

    told = place.run(
        str(EVERGREEN), "predictions", "images", "--model", "images-work",
        "--output", str(place.home / "predictions.parquet"), folder=CHECKOUT,
    )  # fmt: skip
    assert told.code == 0, told
    assert f"{record['windows'][0]['rows']:,} predictions of images-work" in told.out
    assert "labelled" in told.out

    pictures = place.root / "data" / "images" / "windows"
    window = max(path for path in pictures.iterdir())
    scored = place.run(
        str(EVERGREEN), "score", "images", "--input", str(window), "--output", str(place.home / "scores.parquet"),
        "--model", "images-work", folder=CHECKOUT,
    )  # fmt: skip
    assert scored.code == 0, scored
    assert "images-work version 2" in scored.out


def test_backtest_compares_policies_and_an_interrupted_one_goes_on(copied):
    command = [str(EVERGREEN), "backtest", "images", "--workdir", str(copied.root), "--policies", "none,head"]
    killed = copied.start(*command, folder=CHECKOUT)
    states = copied.home / "adaptation"
    while killed.poll() is None and not list(states.rglob("state.json")):
        pass
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


def test_unknown_policy_is_one_message(copied):
    refused = adapt(copied, "--policy", "magic")
    assert refused.code == 2
    assert "No adaptation policy 'magic'. There are: none, head, finetune, retrain, replay." in refused.err
    assert "Traceback" not in refused.err
    assert adapt(copied, "--trigger", "sometimes").code == 2
