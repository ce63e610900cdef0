import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evergreen.errors import BadInputError
from tasks.settings import CHECKOUT, Settings
from tasks.workspace import Workspace, open_workspace


def opened(settings, **place):
    with open_workspace(settings, "images", **place) as workspace:
        return workspace, workspace.params["images"]


def test_default_is_the_checkout_untouched(small_settings):
    before = {path: path.read_text() for path in small_settings.checkout.rglob("*") if path.is_file()}
    for profile in (None, "laptop"):
        workspace, params = opened(small_settings, profile=profile)
        assert workspace.root == small_settings.checkout
        assert params["model_name"] == "images"
    after = {path: path.read_text() for path in small_settings.checkout.rglob("*") if path.is_file()}
    assert {path for path in after if ".dvc" not in path.parts} == set(before)
    assert all(after[path] == text for path, text in before.items())


def test_profile_has_a_workspace_of_its_own(small_settings):
    workspace, params = opened(small_settings, profile="smoke")
    assert workspace.root == small_settings.home / "workspaces" / "images-smoke"
    assert params["profile"] == "smoke"
    assert params["ingest"] == {"source": "digits", "folder": None, "days": 2}
    assert params["model_name"] == "images-smoke"


def test_folder_gives_the_model_its_name(small_settings, tmp_path):
    assert opened(small_settings, workdir=tmp_path / "mine")[1]["model_name"] == "images-mine"
    assert opened(small_settings, workdir=tmp_path / "mine", model_name="other")[1]["model_name"] == "other"
    assert opened(small_settings, workdir=tmp_path / "mine", profile="smoke")[1]["model_name"] == "other"


def test_checkout_named_as_folder_is_the_checkout(small_settings):
    workspace, params = opened(small_settings, workdir=small_settings.checkout / "profiles" / "..")
    assert workspace.root == small_settings.checkout
    assert params["model_name"] == "images"
    assert not (workspace.root / "evergreen").is_symlink()


def test_parameters_stay_until_a_profile_is_named(small_settings, tmp_path):
    workspace, _ = opened(small_settings, workdir=tmp_path / "mine")
    workspace.update("images", {"ingest": {"days": 9}, "champion": "abc"})
    assert opened(small_settings, workdir=tmp_path / "mine")[1]["ingest"]["days"] == 9
    params = opened(small_settings, workdir=tmp_path / "mine", profile="smoke")[1]
    assert params["ingest"]["days"] == 2
    assert params["champion"] == "abc", "the champion belongs to the workspace"
    assert opened(small_settings, workdir=tmp_path / "mine", profile="laptop")[1]["ingest"]["days"] == 3


def test_values_of_the_command_line_come_last(small_settings, tmp_path):
    params = opened(small_settings, workdir=tmp_path / "mine", profile="smoke", values={"ingest": {"days": 5}})[1]
    assert params["ingest"] == {"source": "digits", "folder": None, "days": 5}


def test_comments_and_quotes_survive_an_update(small_settings, tmp_path):
    workspace, _ = opened(small_settings, workdir=tmp_path / "mine")
    before = workspace.params_file.read_text()
    workspace.update("images", {"seed": 7, "ingest": {"folder": "/a b"}})
    assert workspace.params_file.read_text() == before.replace("seed: 0", "seed: 7").replace(
        "folder: null", "folder: /a b"
    )
    workspace.update("images", {"seed": 0, "ingest": {"folder": None}})
    assert workspace.params_file.read_text() == before


def test_update_without_a_change_writes_nothing(small_settings, tmp_path):
    workspace, _ = opened(small_settings, workdir=tmp_path / "mine")
    before = workspace.params_file.stat().st_mtime_ns
    workspace.update("images", {"seed": 0, "ingest": {"days": 3}})
    assert workspace.params_file.stat().st_mtime_ns == before


def test_workspace_follows_the_checkout(small_settings, tmp_path):
    workspace, _ = opened(small_settings, workdir=tmp_path / "mine")
    (small_settings.checkout / "dvc.yaml").write_text("stages: {}\n")
    (workspace.root / "evergreen").unlink()
    (workspace.root / "evergreen").symlink_to(tmp_path)
    opened(small_settings, workdir=tmp_path / "mine")
    assert (workspace.root / "dvc.yaml").read_text() == "stages: {}\n"
    assert Path(os.readlink(workspace.root / "evergreen")) == small_settings.checkout / "evergreen"


def test_unknown_profile_names_those_there_are(small_settings):
    with pytest.raises(BadInputError, match=r"no profile 'huge' for images\. Profiles: laptop, smoke"):
        opened(small_settings, profile="huge")


def test_folder_in_use_for_something_else_is_left_alone(small_settings, tmp_path):
    (tmp_path / "mine" / "evergreen").mkdir(parents=True)
    with pytest.raises(BadInputError, match="in the way of a workspace"):
        opened(small_settings, workdir=tmp_path / "mine")
    assert (tmp_path / "mine" / "evergreen").is_dir()
    assert not (tmp_path / "mine" / "params.yaml").exists()


@pytest.mark.parametrize("profile", sorted(path.stem for path in (CHECKOUT / "profiles/images").glob("*.yaml")))
def test_profiles_change_only_parameters_that_exist(profile):
    base = yaml.safe_load((CHECKOUT / "params.yaml").read_text())["images"]
    overlay = yaml.safe_load((CHECKOUT / f"profiles/images/{profile}.yaml").read_text())
    assert list(overlay) == ["images"]
    assert overlay["images"]["profile"] == profile
    for name, value in overlay["images"].items():
        assert name in base
        if name in ("ingest", "windows"):  # these spell out all they know
            assert set(value) <= set(base[name])


def test_lock_is_held_once_and_freed_by_a_kill(small_settings, tmp_path):
    workspace, _ = opened(small_settings, workdir=tmp_path / "mine")
    code = (
        "import sys, time; from pathlib import Path; from tasks.workspace import Workspace\n"
        f"with Workspace(Path({str(workspace.root)!r})).lock():\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    with workspace.lock(), Workspace(workspace.root).lock():
        pass
    holder.wait()
    holder.stdout.close()


def test_dvc_is_set_up_alike_in_the_checkout_and_elsewhere(small_settings, tmp_path):
    """The checkout's own configuration is committed, with relative paths to the default home."""
    workspace, _ = opened(small_settings, workdir=tmp_path / "mine")
    here, there = (configparser.ConfigParser() for _ in range(2))
    here.read(CHECKOUT / ".dvc" / "config")
    there.read(workspace.root / ".dvc" / "config")
    core = dict(there["core"])
    assert core.pop("site_cache_dir") == str(small_settings.dvc_state)
    assert dict(here["core"]) == core
    assert here["cache"]["type"] == there["cache"]["type"] == "copy"
    home = Settings.load({})
    remote = "'remote \"local\"'"
    for section, option, default, own in (
        ("cache", "dir", home.cache, small_settings.cache),
        (remote, "url", home.remote, small_settings.remote),
    ):
        assert (CHECKOUT / ".dvc" / here[section][option]).resolve() == default
        assert there[section][option] == str(own)
