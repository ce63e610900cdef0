"""The registry on a real MLflow store: what goes in comes out verified, once, and never through pickle."""

import json
import os
import pickletools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from evergreen.errors import BadInputError
from evergreen.files import read_json, sha256_file, write_json
from evergreen.images import bundle
from evergreen.images.layout import ImageLayout
from tasks import record, registry
from tasks.aliases import ChampionMovedError, history, move_champion
from tasks.mlflow_store import connect
from tasks.settings import CHECKOUT, Settings
from tasks.versions import ModelVersionInfo, aliases_of, find_run_key, get_version, list_versions
from tasks.workspace import Workspace

CLASSES = ["blue", "green", "red"]


@pytest.fixture
def add(settings: Settings, workspace: Workspace, make_classifier: Callable[..., bundle.Classifier]):
    """Registers a classifier with the given seed as a version of its own."""

    def add(seed: int) -> ModelVersionInfo:
        bundle.save(ImageLayout(workspace.root).classifier, make_classifier(CLASSES, seed))
        run_id = record.start_run(settings, workspace)
        return registry.register(settings, workspace, run_id, f"key-{seed}")

    return add


def evaluation(workspace: Workspace, challenger: str, champion: str | None, promote: bool, reason: str = "why") -> None:
    """Write what the step evaluate would have."""
    value = {
        "challenger": {"weights_sha256": challenger},
        "champion": None if champion is None else {"weights_sha256": champion},
        "decision": {"promote": promote, "reason": reason, "checks": []},
    }
    write_json(ImageLayout(workspace.root).metrics / "evaluate.json", value)


def weights_file(settings: Settings, info: ModelVersionInfo) -> Path:
    found = list((settings.artifacts / "images" / "models").glob(f"{info.source.rsplit('/')[-1]}/**/model.safetensors"))
    assert len(found) == 1
    return found[0]


def force(settings: Settings, version: str, why: str = "test") -> dict:
    return move_champion(settings, "images", version, why, lambda found: True, lambda: None)


def test_version_carries_its_identity(settings: Settings, workspace: Workspace, add) -> None:
    write_json(ImageLayout(workspace.root).validation / "result.json", {"passed": True, "hash": "abc"})
    (workspace.root / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  ingest:\n    outs:\n    - path: data/images/raw\n      md5: 0123.dir\n"
    )
    info = add(1)
    folder = ImageLayout(workspace.root).classifier
    tags = info.tags
    assert info.version == "1"
    assert tags["run_key"] == "key-1"
    assert tags["weights_sha256"] == sha256_file(folder / bundle.WEIGHTS)
    assert tags["config_sha256"] == sha256_file(folder / bundle.CONFIG)
    assert tags["dvc_md5"] == "0123.dir"
    assert tags["validation_sha256"] == "abc"
    assert tags["torch_version"] == torch.__version__
    assert (tags["profile"], tags["seed"], tags["threads"], tags["precision"]) == ("laptop", "0", "2", "fp32")
    assert json.loads(tags["classes"]) == CLASSES
    assert {"git_commit", "git_patch_sha256", "cpu_capability", "requirements_sha256"} <= set(tags)
    run = connect(settings).get_run(info.run_id)
    assert run.data.tags["run_key"] == "key-1"
    assert run.info.status == "RUNNING"


def test_same_run_key_makes_no_second_version(settings: Settings, workspace: Workspace, add) -> None:
    first, again, other = add(1), add(1), add(2)
    assert again == first
    assert other.version == "2"
    client = connect(settings)
    assert find_run_key(client, "images", "key-2") == other
    assert find_run_key(client, "images", "key-3") is None
    assert find_run_key(client, "no-such-model", "key-1") is None


def test_run_that_made_nothing_new_names_the_version(settings: Settings, workspace: Workspace, add) -> None:
    first = add(1)
    run_id = record.start_run(settings, workspace)
    assert run_id != first.run_id
    assert registry.register(settings, workspace, run_id, "key-1") == first
    for made_by in (first.run_id, run_id):
        tags = connect(settings).get_run(made_by).data.tags
        assert (tags["run_key"], tags["model_version"]) == ("key-1", "images/1")


def test_nothing_in_the_store_is_pickled(settings: Settings, add) -> None:
    add(1)
    files = [path for path in settings.artifacts.rglob("*") if path.is_file()]
    assert any(path.name == "model.safetensors" for path in files)
    for path in files:
        assert path.suffix not in {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy"}, path
        assert not path.read_bytes().startswith((b"\x80", b"PK")), path  # pickle's protocol byte, torch's zip
        with pytest.raises((ValueError, IndexError, UnicodeDecodeError)):
            list(pickletools.genops(path.read_bytes()))


def test_generic_loader_in_another_process_answers_like_the_bundle(
    settings: Settings, add, painter, tmp_path: Path, make_classifier
) -> None:
    """From any directory, with pickle forbidden, by a program that knows MLflow only."""
    info = add(1)
    force(settings, info.version)
    images = painter(["red", "blue", "green", "red"], seed=9)
    np.save(tmp_path / "images.npy", images)
    script = (
        "import json, mlflow, numpy as np, sys\n"
        "model = mlflow.pyfunc.load_model('models:/images@champion')\n"
        "print(model.predict(np.load(sys.argv[1])).to_json())\n"
        "assert model.metadata.signature.inputs.input_types()[0] == np.uint8\n"
    )
    assert settings.environment()["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "images.npy")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert list(answers["prediction"].values()) == ["red", "blue", "green", "red"]
    expected = make_classifier(CLASSES, 1).predict_probabilities(images)
    np.testing.assert_allclose(list(answers["probabilities"].values()), expected, atol=1e-5)
    np.testing.assert_allclose(list(answers["score"].values()), expected.max(axis=1), atol=1e-5)


def test_loaded_classifier_is_the_registered_one(settings: Settings, add, painter, make_classifier) -> None:
    info = add(3)
    images = painter(CLASSES * 3)
    loaded = registry.load(settings, info)
    assert loaded.classes == CLASSES
    np.testing.assert_array_equal(
        loaded.predict_probabilities(images), make_classifier(CLASSES, 3).predict_probabilities(images)
    )


@pytest.mark.parametrize("also_the_bundle", [False, True])
def test_tampered_weights_are_refused(
    settings: Settings, workspace: Workspace, add, make_classifier, also_the_bundle: bool
) -> None:
    """Even where the forger rewrote the hashes that lie beside the weights: the registry's tag remembers."""
    info = add(1)
    force(settings, info.version)
    file = weights_file(settings, info)
    if also_the_bundle:
        bundle.save(file.parent, make_classifier(CLASSES, 2))
        model = file.parents[2] / "MLmodel"
        model.write_text(model.read_text().replace(info.weights_sha256, sha256_file(file)))
    else:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        with pytest.raises(BadInputError, match="changed or damaged"):
            mlflow.pyfunc.load_model("models:/images@champion")
    with pytest.raises(BadInputError, match="changed or damaged"):
        registry.load(settings, info)
    with pytest.raises(BadInputError, match="changed or damaged"):
        registry.export_champion(settings, workspace)


def test_swapped_class_names_are_refused(settings: Settings, add) -> None:
    info = add(1)
    config = weights_file(settings, info).with_name(bundle.CONFIG)
    write_json(config, read_json(config) | {"classes": CLASSES[::-1]})
    with pytest.raises(BadInputError, match=r"config\.json of images version 1"):
        registry.load(settings, info)


def test_version_without_a_hash_is_refused(settings: Settings, add) -> None:
    info = add(1)
    connect(settings).delete_model_version_tag("images", "1", "weights_sha256")
    with pytest.raises(BadInputError, match="nothing vouches"):
        registry.load(settings, get_version(connect(settings), "images", info.version))


def test_lost_artifacts_are_a_clear_error(settings: Settings, add) -> None:
    info = add(1)
    weights_file(settings, info).parents[2].joinpath("MLmodel").unlink()
    with pytest.raises(BadInputError, match="cannot be read"):
        registry.load(settings, info)


def test_damaged_bundle_is_not_registered(settings: Settings, workspace: Workspace, make_classifier) -> None:
    folder = ImageLayout(workspace.root).classifier
    bundle.save(folder, make_classifier(CLASSES, 1))
    (folder / bundle.WEIGHTS).write_bytes(b"nothing")
    run_id = record.start_run(settings, workspace)
    with pytest.raises(BadInputError, match="changed or damaged"):
        registry.register(settings, workspace, run_id, "key")
    assert list_versions(connect(settings), "images") == []


def test_export_puts_the_champion_where_steps_find_it(settings: Settings, workspace: Workspace, add) -> None:
    target = ImageLayout(workspace.root).champion
    target.mkdir(parents=True)
    assert registry.export_champion(settings, workspace) is None
    assert not target.exists()
    info = add(1)
    assert registry.export_champion(settings, workspace) is None
    force(settings, "1")
    assert registry.export_champion(settings, workspace) == info.weights_sha256
    assert bundle.load(target, expected_sha256=info.weights_sha256).classes == CLASSES


def test_promotion_follows_the_evaluation(settings: Settings, workspace: Workspace, add) -> None:
    first, second, third = add(1), add(2), add(3)
    evaluation(workspace, first.weights_sha256, None, True, "the floor is reached")
    assert registry.promote(settings, workspace, "1") == {
        "promoted": True,
        "reason": "the floor is reached",
        "version": "1",
        "champion": "1",
        "previous": None,
    }
    evaluation(workspace, second.weights_sha256, first.weights_sha256, False, "gains too little")
    kept = registry.promote(settings, workspace, "2")
    assert (kept["promoted"], kept["champion"], kept["reason"]) == (False, "1", "gains too little")
    evaluation(workspace, third.weights_sha256, first.weights_sha256, True, "gains enough")
    moved = registry.promote(settings, workspace, "3")
    assert (moved["promoted"], moved["champion"], moved["previous"]) == (True, "3", "1")
    client = connect(settings)
    assert json.loads(get_version(client, "images", "2").tags["decision"])["reason"] == "gains too little"
    assert client.get_run(second.run_id).data.tags["decision"] == "kept the champion"
    assert client.get_run(third.run_id).data.tags["decision_reason"] == "gains enough"
    assert [(entry["from"], entry["to"], entry["why"]) for entry in history(client, "images")] == [
        (None, "1", "the floor is reached"),
        ("1", "3", "gains enough"),
    ]


def test_promoting_again_changes_nothing(settings: Settings, workspace: Workspace, add) -> None:
    info = add(1)
    evaluation(workspace, info.weights_sha256, None, True)
    registry.promote(settings, workspace, "1")
    again = registry.promote(settings, workspace, "1")
    assert (again["promoted"], again["reason"]) == (False, "version 1 is the champion already")
    assert len(history(connect(settings), "images")) == 1


def test_decision_against_another_champion_is_void(settings: Settings, workspace: Workspace, add) -> None:
    first, second, third = add(1), add(2), add(3)
    force(settings, first.version)
    evaluation(workspace, third.weights_sha256, first.weights_sha256, True)
    force(settings, second.version)
    with pytest.raises(ChampionMovedError, match="version 2 now"):
        registry.promote(settings, workspace, "3")
    evaluation(workspace, third.weights_sha256, None, True)
    with pytest.raises(ChampionMovedError):
        registry.promote(settings, workspace, "3")
    assert aliases_of(connect(settings), "images") == {"champion": "2", "previous": "1"}
    assert "decision" not in get_version(connect(settings), "images", "3").tags


def test_evaluation_of_other_weights_is_refused(settings: Settings, workspace: Workspace, add) -> None:
    first, second = add(1), add(2)
    evaluation(workspace, first.weights_sha256, None, True)
    with pytest.raises(BadInputError, match="judged weights"):
        registry.promote(settings, workspace, second.version)


def test_tampered_challenger_never_becomes_champion(settings: Settings, workspace: Workspace, add) -> None:
    info = add(1)
    weights_file(settings, info).write_bytes(b"other")
    evaluation(workspace, info.weights_sha256, None, True)
    with pytest.raises(BadInputError, match="changed or damaged"):
        registry.promote(settings, workspace, "1")
    assert aliases_of(connect(settings), "images") == {}
