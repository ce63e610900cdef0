"""Sweeps, studies and exports from the command line."""

import pytest
from typer.testing import CliRunner

from evergreen.errors import BadInputError
from flows import cli
from tasks.mlflow_store import connect, experiment
from tasks.settings import CHECKOUT, Settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sweep retail", "No domain 'retail' to study. There are: images."),
        ("sweep images --study nope", "No study 'nope' to sweep. There are: backbones, heads, "),
        ("sweep images --study batch --batches 8,x", "The sweep does not fit:\n  batches.1: "),
        ("sweep images --epochs 0", "epochs: Input should be greater than or equal to 1 (found 0)"),
        ("export images --what weights --output x", "--what 'weights' cannot be exported. There are: onnx, "),
        ("export images --what onnx --output .", "--output . is a folder. Name a file."),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(words, message):
    result = CliRunner().invoke(cli.app, words.split())
    assert isinstance(result.exception, BadInputError)
    assert message in str(result.exception)


@pytest.mark.slow
def test_a_workspace_is_swept_studied_and_exported(copied):
    def call(*words):
        ran = copied.run("evergreen", *words, "--workdir", str(copied.root))
        assert ran.code == 0, ran
        return ran.out

    scale = ("--images", "64", "--epochs", "1", "--width", "2")
    out = call("sweep", "images", "--study", "temperature", "--temperatures", "0.1,0.5", *scale)
    assert "Best on" in out
    assert call("sweep", "images", "--study", "temperature", "--temperatures", "0.1,0.5", *scale) == out
    assert "from 10 labelled ones" in call("study", "images", "retrieval", "--draws", "2")
    assert "the student needs" in call("study", "images", "distil", "--width", "2", "--steps", "3")
    assert "embeddings of 64 numbers" in call("export", "images", "--what", "embeddings", "--output", "e.parquet")
    assert "from torch" in call("export", "images", "--what", "onnx", "--output", "e.onnx")
    studies = copied.root / "data" / "images" / "studies"
    assert {path.name for path in studies.iterdir()} >= {
        *("temperature.csv", "temperature.json", "temperature.svg", "temperature.png", "retrieval.json")
    }
    settings = Settings(CHECKOUT, copied.home, f"sqlite:///{copied.home / 'mlflow.db'}", None)
    client = connect(settings)
    runs = client.search_runs([experiment(client, settings, f"images-{copied.root.name}")])
    kinds = [run.data.tags.get("kind") for run in runs]
    assert (kinds.count("sweep"), kinds.count("trial"), kinds.count("study")) == (2, 4, 2)
