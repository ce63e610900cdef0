"""`evergreen models` and `evergreen score` as a user calls them, on a registry with real models."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evergreen.files import write_json
from evergreen.images import bundle
from evergreen.images.layout import ImageLayout
from flows import cli
from tasks import record, registry
from tasks.mlflow_store import connect
from tasks.settings import CHECKOUT, Settings
from tasks.versions import aliases_of
from tasks.workspace import Workspace
from tests.flows.conftest import run_registry_example

CLASSES = ["blue", "green", "red"]
Evergreen = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evergreen(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Evergreen:
    """Runs a command line in this process; exit status, stdout, stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evergreen", *map(str, arguments)])
        try:
            code = cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def fill(settings: Settings, workspace: Workspace, make_classifier: Callable[..., bundle.Classifier]) -> None:
    """Register three versions; the first is promoted by the gate, the second refused, the third not judged."""
    layout = ImageLayout(workspace.root)
    champion = None
    for seed, promote in ((1, True), (2, False), (3, None)):
        weights = bundle.save(layout.classifier, make_classifier(CLASSES, seed))
        info = registry.register(settings, workspace, record.start_run(settings, workspace), f"key-{seed}")
        if promote is None:
            continue
        checks = [{"name": "floor", "passed": True, "found": 0.875, "needed": 0.4}]
        decision = {"promote": promote, "reason": f"reason {seed}", "checks": checks, "interval": None, "gain": None}
        judged = {"challenger": {"weights_sha256": weights}, "champion": champion, "decision": decision}
        write_json(layout.metrics / "evaluate.json", judged)
        registry.promote(settings, workspace, info.version)
        champion = champion or {"weights_sha256": weights}


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, make_classifier: Callable[..., bundle.Classifier]
) -> Path:
    """The database of a registry with three versions, whose files stay where they are when it is copied."""
    home, root = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("workspace")
    shutil.copy(empty_store, home / "mlflow.db")
    shutil.copy(CHECKOUT / "params.yaml", root / "params.yaml")
    fill(Settings(CHECKOUT, home, f"sqlite:///{home / 'mlflow.db'}", None), Workspace(root), make_classifier)
    return home / "mlflow.db"


@pytest.fixture
def registered(settings: Settings, filled: Path) -> Settings:
    """A registry with three versions of its own; their files are shared, so they must not be changed."""
    shutil.copy(filled, settings.home / "mlflow.db")
    return settings


@pytest.fixture
def tampered(settings: Settings, workspace: Workspace, make_classifier: Callable[..., bundle.Classifier]) -> Settings:
    """A registry whose files were changed by one bit after they were registered."""
    fill(settings, workspace, make_classifier)
    for file in settings.artifacts.rglob("model.safetensors"):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    return settings


@pytest.fixture
def pictures(tmp_path: Path, painter: Callable[..., np.ndarray]) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, (label, image) in enumerate(zip(CLASSES * 2, painter(CLASSES * 2, size=80), strict=True)):
        Image.fromarray(image).save(folder / f"{label}-{number}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_list(registered: Settings, evergreen: Evergreen) -> None:
    client = connect(registered)
    client.create_registered_model("retail-shop")
    client.create_model_version("retail-shop", "file:///nowhere")
    code, out, _ = evergreen("models", "list")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:4] == ["model", "version", "alias", "made"]
    assert [line[:2] for line in lines[1:]] == [["images", "3"], ["images", "2"], ["images", "1"], ["retail-shop", "1"]]
    assert lines[3][2] == "champion"
    assert "87.5%" in lines[3]
    code, out, _ = evergreen("models", "list", "--model", "retail-shop")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["retail-shop"]


def test_list_as_json(registered: Settings, evergreen: Evergreen) -> None:
    code, out, _ = evergreen("models", "list", "--json")
    found = json.loads(out)
    assert code == 0
    assert [entry["version"] for entry in found] == ["3", "2", "1"]
    assert found[2]["aliases"] == ["champion"]
    assert found[2]["tags"]["run_key"] == "key-1"
    assert found[1]["decision"]["reason"] == "reason 2"
    assert found[0]["decision"] is None


def test_show(registered: Settings, evergreen: Evergreen) -> None:
    code, out, _ = evergreen("models", "show")
    assert code == 0
    assert "models:/images/1" in out
    assert "key-1" in out
    assert "passed: found 0.875, needed 0.4" in out
    code, out, _ = evergreen("models", "show", "2", "--json")
    assert json.loads(out)["decision"]["reason"] == "reason 2"


def test_promote_rollback_and_their_history(registered: Settings, evergreen: Evergreen) -> None:
    code, out, _ = evergreen("models", "promote", "3", "--why", "because [red]")
    assert (code, out) == (0, "Version 3 is the champion of images; version 1 is previous now.\n")
    code, out, _ = evergreen("models", "rollback", "--json")
    assert code == 0
    assert {key: json.loads(out)[key] for key in ("model", "action", "from", "to", "why")} == {
        "model": "images",
        "action": "rollback",
        "from": "3",
        "to": "1",
        "why": "rolled back by hand",
    }
    assert aliases_of(connect(registered), "images") == {"champion": "1", "previous": "3"}
    code, out, _ = evergreen("models", "history")
    assert code == 0
    assert [line.split()[2:5] for line in out.splitlines()[1:]] == [
        ["promote", "-", "1"],
        ["promote", "1", "3"],
        ["rollback", "3", "1"],
    ]
    assert "because [red]" in out
    _, out, _ = evergreen("models", "history", "--json")
    assert [entry["to"] for entry in json.loads(out)] == ["1", "3", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "promote", "9"], "no version '9'. There are: 3, 2, 1."),
        (["models", "promote", "1"], "is the champion of images already"),
        (["models", "rollback"], "nothing to roll back to"),
        (["models", "show", "x"], "no version 'x'"),
        (["models", "list", "--model", "other"], "No model 'other' in the registry. There are: images."),
    ],
)
def test_bad_input_is_one_message(
    registered: Settings, evergreen: Evergreen, arguments: list[str], message: str
) -> None:
    code, out, err = evergreen(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_changed_weights_are_neither_promoted_nor_used(
    tampered: Settings, evergreen: Evergreen, pictures: Path, tmp_path: Path
) -> None:
    for arguments in (
        ["models", "promote", "3"],
        ["score", "images", "--input", pictures, "--output", tmp_path / "p.parquet"],
    ):
        code, _, err = evergreen(*arguments)
        assert code == 2
        assert "changed or damaged" in err
    assert aliases_of(connect(tampered), "images") == {"champion": "1"}
    assert not (tmp_path / "p.parquet").exists()


def test_score_with_the_champion(registered: Settings, evergreen: Evergreen, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "predictions.parquet"
    code, out, _ = evergreen("score", "images", "--input", pictures, "--output", output, "--batch-size", "4")
    rows = pd.read_parquet(output)
    assert code == 0
    assert list(rows["prediction"]) == [Path(path).name.split("-")[0] for path in rows["path"]]
    assert set(rows["model_version"]) == {"1"}
    assert out.splitlines() == [
        f"6 of 7 images scored with images version 1: {output}",
        "Answers: blue 2, green 2, red 2.",
        f"Not scored: no image 1; each with its reason in {tmp_path / 'predictions.quarantine.parquet'}.",
    ]


def test_score_with_a_version_and_a_column(
    registered: Settings, evergreen: Evergreen, pictures: Path, tmp_path: Path
) -> None:
    table = pa.table({"scan": [path.read_bytes() for path in sorted(pictures.glob("*.png"))]})
    pq.write_table(table, tmp_path / "in.parquet")
    place = ["--input", tmp_path / "in.parquet", "--output", tmp_path / "out.csv"]
    code, _, err = evergreen("score", "images", *place)
    assert code == 2
    assert "--image-column" in err
    code, _, _ = evergreen("score", "images", *place, "--image-column", "scan", "--model-version", "3")
    assert code == 0
    assert set(pd.read_csv(tmp_path / "out.csv")["model_version"]) == {3}


def test_score_without_a_champion_says_what_to_do(
    settings: Settings, evergreen: Evergreen, pictures: Path, tmp_path: Path
) -> None:
    arguments = ["score", "images", "--input", pictures, "--output", tmp_path / "p.parquet"]
    code, _, err = evergreen(*arguments)
    assert (code, err) == (2, "Error: The registry holds no model of images yet. Make one: evergreen run images.\n")
    client = connect(settings)
    client.create_registered_model("images")
    client.create_model_version("images", "file:///nowhere")
    code, _, err = evergreen(*arguments)
    assert code == 2
    assert "images has no champion yet (versions: 1)" in err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": "weather"}, "No domain 'weather' to score"),
        ({"--output": "p.json"}, "ends in '.json', expected .parquet or .csv"),
        ({"--input": "no/such/place"}, "does not exist"),
    ],
)
def test_score_refuses_bad_arguments(
    evergreen: Evergreen, pictures: Path, changes: dict[str, str], message: str
) -> None:
    options = {"--input": str(pictures), "--output": "p.parquet"} | {k: v for k, v in changes.items() if k != "domain"}
    code, _, err = evergreen(
        "score", changes.get("domain", "images"), *(part for pair in options.items() for part in pair)
    )
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_python_of_the_readme_runs(registered: Settings) -> None:
    names = run_registry_example(registered, "images")
    assert list(names["answers"].columns) == ["prediction", "score", "probabilities"]
    assert names["model"].metadata.metadata["classes"] == CLASSES


@pytest.mark.slow
def test_mlflow_serves_the_champion(registered: Settings, painter, make_classifier, tmp_path: Path) -> None:
    """`mlflow models serve`, as mlflow/README.md shows it, answers like the classifier."""
    import socket
    import time
    import urllib.error
    import urllib.request

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(CHECKOUT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = ["models", "serve", "-m", "models:/images@champion", "--env-manager", "local"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    images = painter(["red", "blue"], seed=5)
    body = json.dumps({"instances": images.tolist()}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
    answers = None
    try:
        for _ in range(240):
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    answers = json.load(response)["predictions"]
                break
            except urllib.error.URLError as error:
                if isinstance(error, urllib.error.HTTPError):
                    raise
                time.sleep(0.5)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(request.full_url, b"{}", dict(request.headers)), timeout=60)
    finally:
        os.killpg(server.pid, 9)
        server.wait()
    assert answers is not None
    assert [answer["prediction"] for answer in answers] == ["red", "blue"]
    expected = make_classifier(CLASSES, 1).predict_probabilities(images)
    np.testing.assert_allclose([answer["probabilities"] for answer in answers], expected, atol=1e-4)
    assert refused.value.code == 400
