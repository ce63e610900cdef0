import os
import subprocess
import sys
from pathlib import Path

import pytest

from evergreen.errors import BadInputError
from tasks import settings as module
from tasks.settings import CHECKOUT, TELEMETRY_OFF, Settings


def test_defaults_are_absolute_and_inside_the_checkout():
    made = Settings.load({})
    assert made.home == CHECKOUT / ".evergreen"
    assert made.tracking_uri == f"sqlite:///{CHECKOUT}/.evergreen/mlflow.db"
    assert made.prefect_api is None
    assert made.local_store


def test_environment_overrides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Settings.load(
        {"EVERGREEN_HOME": "state", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "PREFECT_API_URL": "u"}
    )
    assert made.home == tmp_path / "state"
    assert made.tracking_uri == "http://127.0.0.1:9"
    assert not made.local_store
    assert made.environment()["PREFECT_API_URL"] == "u"


def test_empty_variables_count_as_unset():
    assert Settings.load({"EVERGREEN_HOME": "", "MLFLOW_TRACKING_URI": "", "PREFECT_API_URL": ""}) == Settings.load({})


def test_children_are_told_the_same(tmp_path):
    made = Settings.load({"EVERGREEN_HOME": str(tmp_path)})
    assert Settings.load(made.child_environment()) == made
    assert made.child_environment()["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_apply_sets_the_environment_and_makes_the_home(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    made = Settings.load({"EVERGREEN_HOME": str(tmp_path / "home")}).apply()
    assert TELEMETRY_OFF.items() <= os.environ.items()
    assert made.artifacts.is_dir()
    assert made.dvc_state.stat().st_mode & 0o077 == 0


def test_packages_without_a_checkout_say_so(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    with pytest.raises(BadInputError, match="runs from its checkout"):
        Settings.load({})


def test_telemetry_is_off_where_its_owners_look(tmp_path):
    """The variables mean what they should, in the installed versions, also without a CI variable."""
    code = (
        "from prefect._internal.analytics.enabled import is_telemetry_enabled as prefect;"
        "from mlflow.telemetry.utils import is_telemetry_disabled as mlflow;"
        "from dvc.analytics import is_enabled as dvc;"
        "print(prefect(), not mlflow(), dvc())"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", *TELEMETRY_OFF)}
    environment |= Settings.load({"EVERGREEN_HOME": str(tmp_path)}).environment()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False False"


@pytest.mark.parametrize(
    ("before", "wanted"), [("", "127.0.0.1,localhost"), ("a.b,localhost", "a.b,localhost,127.0.0.1")]
)
def test_no_proxy_stands_between_us_and_our_own_servers(monkeypatch, before, wanted):
    monkeypatch.setenv("no_proxy", before)
    monkeypatch.setenv("NO_PROXY", before)
    found = Settings.load({}).environment()
    assert found["no_proxy"] == found["NO_PROXY"] == wanted
