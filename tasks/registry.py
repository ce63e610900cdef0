"""Models in the registry: a bundle in, a verified bundle out, and nothing pickled on the way."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.errors import BadInputError
from evergreen.files import read_json, remove, sha256_file, write_atomically
from tasks import aliases
from tasks.bundles import BY_LOADER, CONFIG, KINDS, BundleKind
from tasks.identity import code_state, identity_tags
from tasks.mlflow_store import connect, locked
from tasks.versions import (
    CHAMPION,
    DESCRIPTION,
    PREVIOUS,
    RUN_KEY,
    WEIGHTS,
    ModelVersionInfo,
    find_run_key,
    get_alias,
    get_version,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.settings import Settings
    from tasks.workspace import Workspace

DECISION = "decision"


def register(
    settings: Settings, workspace: Workspace, run_id: str, run_key: str, bundle_folder: Path | None = None
) -> ModelVersionInfo:
    """Make a version of a model of the workspace, with its identity as tags.

    The same run key gives the version that exists, also to several processes at once.

    Args:
        settings: where the store is.
        workspace: its parameter ``model_name`` is the registered name.
        run_id: the MLflow run that made it.
        run_key: identity of everything that went into it.
        bundle_folder: the model; by default where the domain's steps leave a new one.

    Raises:
        BadInputError: there is no model, or its weights do not match its description.
    """
    from mlflow.entities import RunTag
    from mlflow.exceptions import MlflowException

    client = connect(settings)
    kind, name = KINDS[workspace.domain], workspace.model_name
    with locked(settings):
        if (found := find_run_key(client, name, run_key)) is not None:
            _link(client, run_id, found)
            return found
        folder = bundle_folder or kind.path(workspace)
        model = kind.load(folder)
        tags = identity_tags(settings.checkout, workspace, code_state(settings.checkout)) | kind.tags(model)
        tags |= {
            RUN_KEY: run_key,
            WEIGHTS: model.weights_sha256,
            DESCRIPTION: sha256_file(folder / CONFIG),
        }
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        uri = _log_model(client, run_id, kind, folder, model, tags)
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = client.create_model_version(name, source=uri, run_id=run_id, tags=tags)
        info = get_version(client, name, str(made.version))
        _link(client, run_id, info)
        return info


def _link(client: MlflowClient, run_id: str, info: ModelVersionInfo) -> None:
    """Tell a run which version its inputs made, whichever run registered it."""
    client.set_tag(run_id, RUN_KEY, info.tags[RUN_KEY])
    client.set_tag(run_id, "model_version", f"{info.name}/{info.version}")


def load(settings: Settings, info: ModelVersionInfo, domain: str | None = None, device: str = "cpu") -> Any:
    """The model of a version, its weights and description checked against the registry's tags.

    Raises:
        BadInputError: the files are gone, are not those that were registered, or are of another domain.
    """
    kind, folder = _bundle_folder(settings, info)
    if domain not in (None, kind.domain):
        raise BadInputError(f"{info.name} version {info.version} is a model of {kind.domain}, not of {domain}.")
    return _load_verified(kind, folder, info, device)


def _load_verified(kind: BundleKind, folder: Path, info: ModelVersionInfo, device: str = "cpu") -> Any:
    model = kind.load(folder, info.weights_sha256, device)
    found, expected = sha256_file(folder / CONFIG), info.tags.get(DESCRIPTION)
    if found != expected:
        raise BadInputError(
            f"{CONFIG} of {info.name} version {info.version} has SHA-256 {found}, expected {expected}: it was "
            "changed or damaged. Restore the artifact store, or roll back: evergreen models rollback."
        )
    return model


def _bundle_folder(settings: Settings, info: ModelVersionInfo) -> tuple[BundleKind, Path]:
    """A version's kind and a local folder with its bundle: the store's own if that is local. Unverified; read only."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    connect(settings)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=info.source))
        flavor = Model.load(str(folder)).flavors["python_function"]
        if flavor["loader_module"] not in BY_LOADER:
            raise BadInputError(
                f"{info.name} version {info.version} is loaded by {flavor['loader_module']}, none of Evergreen's."
            )
        return BY_LOADER[flavor["loader_module"]], folder / flavor["data"]
    except (MlflowException, OSError, KeyError) as error:
        raise BadInputError(
            f"The files of {info.name} version {info.version} cannot be read from {info.source}: {error}. "
            "Restore the artifact store, or roll back: evergreen models rollback."
        ) from error


def export_champion(settings: Settings, workspace: Workspace) -> str | None:
    """Put the champion's bundle into ``data/<domain>/champion``, where steps find it.

    Returns:
        The SHA-256 of its weights. None if there is no champion; the folder is gone then.

    Raises:
        BadInputError: its weights are not those that were registered.
    """
    client = connect(settings)
    target = workspace.data / "champion"
    champion = get_alias(client, workspace.model_name, CHAMPION)
    if champion is None:
        remove(target)
        return None
    kind, source = _bundle_folder(settings, champion)
    _load_verified(kind, source, champion)
    write_atomically(target, lambda part: shutil.copytree(source, part))
    return champion.weights_sha256


def promote(
    settings: Settings, workspace: Workspace, version: str, evaluation: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Act on an evaluation: make the version champion, or not, and tag it with the reason.

    Args:
        settings: where the store is.
        workspace: its parameter ``model_name`` is the registered name.
        version: the challenger.
        evaluation: weights of both models and the decision; by default the workspace's ``metrics/evaluate.json``.

    Returns:
        promoted, reason, version, champion and previous (versions or None).

    Raises:
        BadInputError: the evaluation is of other weights than the version's.
        ChampionMovedError: the champion is not the one that the evaluation compared with.
    """
    client = connect(settings)
    name = workspace.model_name
    info = get_version(client, name, version)
    if evaluation is None:
        evaluation = read_json(workspace.metrics / "evaluate.json")
    promoted = False
    if "skipped" in evaluation:
        reason = evaluation["skipped"]
    elif CHAMPION in info.aliases:
        reason = f"version {version} is the champion already"
    else:
        _check_same_weights(info, evaluation["challenger"]["weights_sha256"])
        promoted, reason = evaluation["decision"]["promote"], evaluation["decision"]["reason"]
        if promoted:
            compared = (evaluation["champion"] or {}).get("weights_sha256")
            _move(settings, info, workspace.domain, reason, compared)
        _write_decision(client, info, evaluation["decision"])
    now = aliases.aliases_of(client, name)
    return {
        "promoted": promoted,
        "reason": reason,
        "version": version,
        "champion": now.get(CHAMPION),
        "previous": now.get(PREVIOUS),
    }


def _move(settings: Settings, info: ModelVersionInfo, domain: str, reason: str, compared: str | None) -> None:
    client = connect(settings)

    def expected(champion: str | None) -> bool:
        found = None if champion is None else get_version(client, info.name, champion).weights_sha256
        return found == compared

    aliases.move_champion(settings, info.name, info.version, reason, expected, lambda: load(settings, info, domain))


def _write_decision(client: MlflowClient, info: ModelVersionInfo, decision: dict[str, Any]) -> None:
    client.set_model_version_tag(info.name, info.version, DECISION, json.dumps(decision))
    if info.run_id:
        client.set_tag(info.run_id, DECISION, "promoted" if decision["promote"] else "kept the champion")
        client.set_tag(info.run_id, "decision_reason", decision["reason"][:5000])


def _check_same_weights(info: ModelVersionInfo, evaluated: str) -> None:
    if evaluated != info.weights_sha256:
        raise BadInputError(
            f"The evaluation judged weights {evaluated}, but version {info.version} of {info.name} has "
            f"{info.weights_sha256}. Run the pipeline again, so that it judges what it registers."
        )


def _log_model(
    client: MlflowClient, run_id: str, kind: BundleKind, folder: Path, model: Any, tags: dict[str, str]
) -> str:
    """Log the bundle as a model of the run and return its URI. Loads without pickle, from any directory."""
    import mlflow.pyfunc
    from mlflow.models import Model

    logged = mlflow.initialize_logged_model(
        kind.name, source_run_id=run_id, tags=tags, experiment_id=client.get_run(run_id).info.experiment_id
    )
    signature, example = kind.signature(model)
    # Model.log, not pyfunc.log_model: only it takes the run's id, and an active run would be closed at the end
    Model.log(
        artifact_path=None,
        name=kind.name,
        flavor=mlflow.pyfunc,
        run_id=run_id,
        model_id=logged.model_id,
        loader_module=kind.loader,
        data_path=str(folder),
        model_config={"sha256": model.weights_sha256},
        signature=signature,
        input_example=example,
        pip_requirements=[f"{package}=={installed(package)}" for package in kind.requirements],
        metadata={WEIGHTS: model.weights_sha256} | kind.metadata(model),
    )
    return f"models:/{logged.model_id}"
