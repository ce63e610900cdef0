"""Moving the champion: one at a time, recorded, undoable. The versions here have no files behind them."""

import json
import os
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from evergreen.errors import BadInputError
from tasks.aliases import ChampionMovedError, history, move_champion, rollback
from tasks.mlflow_store import connect
from tasks.settings import CHECKOUT, Settings
from tasks.versions import aliases_of, choose_model, find_run_key, get_version, list_versions

# Waits until every rival is ready, then tries to take the place of version 1.
RIVAL = """
import sys, time
from pathlib import Path
from tasks.aliases import ChampionMovedError, move_champion
from tasks.mlflow_store import connect
from tasks.settings import Settings
settings, version = Settings.load(), sys.argv[1]
connect(settings)
(settings.home / f"ready-{version}").touch()
while not (settings.home / "go").exists():
    time.sleep(0.01)
try:
    move_champion(settings, "images", version, "race", lambda found: found == "1", lambda: time.sleep(0.2))
except ChampionMovedError:
    sys.exit(7)
"""


@pytest.fixture
def client(settings: Settings) -> MlflowClient:
    """Of a store with four versions of one model."""
    client = connect(settings)
    client.create_registered_model("images")
    for number in range(1, 5):
        client.create_model_version("images", f"file:///nowhere/{number}", tags={"run_key": f"key-{number}"})
    return client


def force(settings: Settings, version: str) -> dict:
    return move_champion(settings, "images", version, "test", lambda found: True, lambda: None)


def test_first_champion_has_no_previous(settings: Settings, client: MlflowClient) -> None:
    entry = force(settings, "2")
    assert (entry["action"], entry["from"], entry["to"], entry["why"]) == ("promote", None, "2", "test")
    assert aliases_of(client, "images") == {"champion": "2"}
    force(settings, "4")
    assert aliases_of(client, "images") == {"champion": "4", "previous": "2"}
    assert get_version(client, "images", "4").aliases == ("champion",)


def test_champion_is_not_promoted_again(settings: Settings, client: MlflowClient) -> None:
    force(settings, "1")
    force(settings, "2")
    with pytest.raises(BadInputError, match="already"):
        force(settings, "2")
    assert aliases_of(client, "images") == {"champion": "2", "previous": "1"}


def test_unexpected_champion_stops_the_move(settings: Settings, client: MlflowClient) -> None:
    force(settings, "1")
    asked = []
    with pytest.raises(ChampionMovedError, match="nothing was moved"):
        move_champion(settings, "images", "2", "test", lambda found: bool(asked.append(found)), lambda: None)
    assert asked == ["1"]
    assert aliases_of(client, "images") == {"champion": "1"}
    assert len(history(client, "images")) == 1


def test_failed_verification_stops_the_move(settings: Settings, client: MlflowClient) -> None:
    def refuse(*_: object) -> None:
        raise BadInputError("the weights were changed")

    force(settings, "1")
    force(settings, "2")
    with pytest.raises(BadInputError, match="were changed"):
        move_champion(settings, "images", "3", "test", lambda found: True, refuse)
    with pytest.raises(BadInputError, match="were changed"):
        rollback(settings, "images", "test", refuse)
    assert aliases_of(client, "images") == {"champion": "2", "previous": "1"}


def test_rivals_leave_one_winner(settings: Settings, client: MlflowClient) -> None:
    """Two processes promote at once, each against version 1: one wins, and version 1 is what it can roll back to."""
    force(settings, "1")
    rivals = {
        version: subprocess.Popen(
            [sys.executable, "-c", RIVAL, version], env=os.environ | {"PYTHONPATH": str(CHECKOUT)}, cwd=settings.home
        )
        for version in ("2", "3")
    }
    while len(list(settings.home.glob("ready-*"))) < len(rivals):
        assert all(rival.poll() is None for rival in rivals.values()), "a rival died before the race"
    (settings.home / "go").touch()
    codes = {version: rival.wait(timeout=120) for version, rival in rivals.items()}
    winners = [version for version, code in codes.items() if code == 0]
    assert sorted(codes.values()) == [0, 7]
    assert aliases_of(client, "images") == {"champion": winners[0], "previous": "1"}
    assert [entry["to"] for entry in history(client, "images")] == ["1", winners[0]]


def test_rollback_swaps_and_a_second_one_swaps_back(settings: Settings, client: MlflowClient) -> None:
    for version in ("1", "2", "3"):
        force(settings, version)
    verified: list[str] = []
    entry = rollback(settings, "images", "worse on new data", verified.append)
    assert (entry["action"], entry["from"], entry["to"], entry["why"]) == ("rollback", "3", "2", "worse on new data")
    assert aliases_of(client, "images") == {"champion": "2", "previous": "3"}
    rollback(settings, "images", "it was not", verified.append)
    assert aliases_of(client, "images") == {"champion": "3", "previous": "2"}
    assert verified == ["2", "3"]
    assert [entry["to"] for entry in history(client, "images")] == ["1", "2", "3", "2", "3"]


def test_rollback_without_a_previous_champion_says_so(settings: Settings, client: MlflowClient) -> None:
    with pytest.raises(BadInputError, match="no champion to roll back"):
        rollback(settings, "images", "test", lambda version: None)
    force(settings, "1")
    with pytest.raises(BadInputError, match="nothing to roll back to"):
        rollback(settings, "images", "test", lambda version: None)


def test_move_that_a_kill_cut_off_is_recovered(settings: Settings, client: MlflowClient) -> None:
    """Killed after ``previous`` was set: the champion stands, and the next move works and leaves it as previous."""
    force(settings, "1")
    force(settings, "2")
    client.set_registered_model_alias("images", "previous", "2")
    with pytest.raises(BadInputError, match="nothing to roll back to"):
        rollback(settings, "images", "test", lambda version: None)
    force(settings, "3")
    assert aliases_of(client, "images") == {"champion": "3", "previous": "2"}


def test_history_notices_moves_made_around_it(settings: Settings, client: MlflowClient) -> None:
    force(settings, "1")
    client.set_registered_model_alias("images", "champion", "2")
    force(settings, "3")
    moves = [(entry["action"], entry["from"], entry["to"]) for entry in history(client, "images")]
    assert moves == [("promote", None, "1"), ("unrecorded", "1", "2"), ("promote", "2", "3")]


def test_history_stays_in_order_beyond_ten(settings: Settings, client: MlflowClient) -> None:
    expected = []
    for turn in range(12):
        expected.append(str(1 + turn % 4))
        force(settings, expected[-1])
    entries = history(client, "images")
    assert [entry["to"] for entry in entries] == expected
    assert all({"at", "who", "action", "from", "to", "why"} == set(entry) for entry in entries)
    assert json.loads(json.dumps(entries)) == entries


def test_unknown_version_lists_those_there_are(settings: Settings, client: MlflowClient) -> None:
    with pytest.raises(BadInputError, match=r"no version '7'\. There are: 4, 3, 2, 1\."):
        force(settings, "7")
    with pytest.raises(BadInputError, match="There are: none"):
        get_version(client, "nothing", "1")


def test_versions_are_listed_newest_first_beyond_nine(settings: Settings, client: MlflowClient) -> None:
    for number in range(5, 12):
        client.create_model_version("images", f"file:///nowhere/{number}", tags={"run_key": "same"})
    assert [info.version for info in list_versions(client, "images")] == [str(n) for n in range(11, 0, -1)]
    oldest = find_run_key(client, "images", "same")
    assert oldest is not None
    assert oldest.version == "5"


def test_name_with_a_quote_is_refused(client: MlflowClient) -> None:
    with pytest.raises(BadInputError, match="holds a quote"):
        list_versions(client, "x' or name = 'images")


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        (["images-smoke", "retail"], "images-smoke"),
        (["images-smoke", "images-hour", "images"], "images"),
        (["images-smoke", "images-hour"], "Several models of images are registered: images-hour, images-smoke"),
        (["retail"], "Make one: evergreen run images"),
    ],
)
def test_model_that_a_command_means(settings: Settings, registered: list[str], expected: str) -> None:
    client = connect(settings)
    for name in registered:
        client.create_registered_model(name)

    if " " in expected:
        with pytest.raises(BadInputError, match=expected):
            choose_model(client, "images", None)
    else:
        assert choose_model(client, "images", None) == expected


def test_named_model_must_exist(client: MlflowClient) -> None:
    assert choose_model(client, "images", "images") == "images"
    with pytest.raises(BadInputError, match=r"No model 'other' in the registry\. There are: images\."):
        choose_model(client, "images", "other")
