"""A small checkout with a pipeline of shell commands, so that DVC and processes are real and quick."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.settings import Settings
from tasks.workspace import Workspace, open_workspace

PARAMS = """\
images:
  profile: laptop
  model_name: images  # name in the registry
  seed: 0
  champion: null
  ingest:
    source: "digits"
    folder: null
    days: 3
  finetune: {epochs: 1}
"""
PIPELINE = """\
stages:
  ingest:
    cmd: sh code/ingest.sh
    deps: [requirements.lock]
    params: [images.ingest]
    outs: [data/images/raw: {persist: true}]
  validate:
    cmd: cp data/images/raw/days data/images/valid
    deps: [data/images/raw]
    outs: [data/images/valid]
  windows:
    cmd: cp data/images/valid data/images/windows
    deps: [data/images/valid]
    outs: [data/images/windows]
  pretrain:
    cmd: cp data/images/windows data/images/encoder
    deps: [data/images/windows]
    outs: [data/images/encoder]
  finetune:
    cmd: cp data/images/encoder data/images/classifier
    deps: [data/images/encoder]
    params: [images.finetune]
    outs: [data/images/classifier]
  slow:
    cmd: sh code/slow.sh
    deps: [requirements.lock]
    outs: [slow.txt]
  failing:
    cmd: sh code/failing.sh
    deps: [requirements.lock]
    outs: [never.txt]
  missing:
    cmd: no-such-command-at-all
    deps: [requirements.lock]
    outs: [nothing.txt]
"""


@pytest.fixture
def small_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for variable in ("EVERGREEN_HOME", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(variable, raising=False)
    checkout = tmp_path / "checkout"
    for folder in ("evergreen", "mlflow", "profiles/images"):
        (checkout / folder).mkdir(parents=True)
    (checkout / "requirements.lock").write_text("numpy==1\n")
    (checkout / "params.yaml").write_text(PARAMS)
    (checkout / "dvc.yaml").write_text(PIPELINE)
    (checkout / "profiles/images/smoke.yaml").write_text("images:\n  profile: smoke\n  ingest: {days: 2}\n")
    home = tmp_path / "home"
    return Settings(checkout=checkout, home=home, tracking_uri=f"sqlite:///{home}/mlflow.db", prefect_api=None)


@pytest.fixture
def pipeline(small_settings: Settings, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace that nobody holds, with the small pipeline's scripts."""
    with open_workspace(small_settings, "images", workdir=tmp_path / "work") as opened:
        pass
    code = opened.root / "code"
    code.mkdir()
    (code / "ingest.sh").write_text("mkdir -p data/images/raw\ngrep days params.yaml > data/images/raw/days\n")
    (code / "slow.sh").write_text("echo $$ > slow.pid\nsleep 60 & echo $! > grandchild.pid\nwait\n")
    (code / "failing.sh").write_text(
        'echo \'{"code": 2, "message": "found 3, expected 4: do this"}\' > "$EVERGREEN_STATUS_FILE"\nexit 2\n'
    )
    return opened
