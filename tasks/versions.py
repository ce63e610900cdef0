"""Model versions as plain values, and which model a command means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evergreen.errors import BadInputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
PREVIOUS = "previous"
RUN_KEY = "run_key"
WEIGHTS = "weights_sha256"
DESCRIPTION = "config_sha256"


@dataclass(frozen=True)
class ModelVersionInfo:
    """A registered version.

    Attributes:
        name: of the registered model.
        version: its number, as text.
        aliases: among them perhaps ``champion`` and ``previous``.
        run_id: the MLflow run that made it.
        created: ISO 8601, UTC.
        source: where MLflow keeps it.
        tags: its identity: run_key, weights_sha256, git_commit, dvc_md5, ...
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    run_id: str
    created: str
    source: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The version as plain JSON values."""
        return asdict(self)

    @property
    def weights_sha256(self) -> str:
        """What the weights' hash must be.

        Raises:
            BadInputError: the version carries no hash, so nothing vouches for its weights.
        """
        if WEIGHTS not in self.tags:
            raise BadInputError(
                f"{self.name} version {self.version} has no tag {WEIGHTS}: it was not registered by Evergreen, and "
                "nothing vouches for its weights. Choose another version: evergreen models list."
            )
        return self.tags[WEIGHTS]


def list_versions(client: MlflowClient, name: str) -> list[ModelVersionInfo]:
    """All versions of a model, newest first."""
    aliases = aliases_of(client, name)
    found = [_info(version, aliases) for version in _pages(client.search_model_versions, f"name = '{_quoted(name)}'")]
    return sorted(found, key=lambda info: int(info.version), reverse=True)


def get_version(client: MlflowClient, name: str, version: str) -> ModelVersionInfo:
    """One version.

    Raises:
        BadInputError: there is no such version; the message lists those there are.
    """
    found = list_versions(client, name)
    for info in found:
        if info.version == version:
            return info
    known = ", ".join(info.version for info in found) or "none"
    raise BadInputError(f"Model {name!r} has no version {version!r}. There are: {known}.")


def get_alias(client: MlflowClient, name: str, alias: str) -> ModelVersionInfo | None:
    """The version that an alias points at, None if it points nowhere."""
    version = aliases_of(client, name).get(alias)
    return None if version is None else get_version(client, name, version)


def champion(client: MlflowClient, name: str) -> ModelVersionInfo:
    """The champion of a model.

    Raises:
        BadInputError: it has none; the message lists its versions.
    """
    found = get_alias(client, name, CHAMPION)
    if found is None:
        known = ", ".join(info.version for info in list_versions(client, name)) or "none"
        raise BadInputError(
            f"{name} has no champion yet (versions: {known}). Make one champion with "
            "`evergreen models promote VERSION`, or let a run find a better one."
        )
    return found


def find_run_key(client: MlflowClient, name: str, run_key: str) -> ModelVersionInfo | None:
    """The version that a run key made, None if there is none."""
    found = [info for info in list_versions(client, name) if info.tags.get(RUN_KEY) == run_key]
    return found[-1] if found else None


def aliases_of(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias → version of a model; empty if the model does not exist."""
    found = _registered(client, name)
    return {} if found is None else {alias: str(version) for alias, version in found.aliases.items()}


def models(client: MlflowClient, prefix: str = "") -> list[str]:
    """Names of the registered models that start with ``prefix``, sorted."""
    return sorted(model.name for model in _pages(client.search_registered_models) if model.name.startswith(prefix))


def choose_model(client: MlflowClient, domain: str, name: str | None) -> str:
    """The model that a command means: the one named, else the domain's own, else the only one of the domain.

    Raises:
        BadInputError: there is none, or several and no way to choose; the message lists them.
    """
    known = models(client, domain)
    if name is not None:
        if _registered(client, name) is None:
            raise BadInputError(f"No model {name!r} in the registry. There are: {', '.join(models(client)) or 'none'}.")
        return name
    if domain in known or len(known) == 1:
        return domain if domain in known else known[0]
    kind = f" of {domain}" if domain else ""
    if not known:
        raise BadInputError(f"The registry holds no model{kind} yet. Make one: evergreen run {domain or 'images'}.")
    raise BadInputError(f"Several models{kind} are registered: {', '.join(known)}. Name one with --model.")


def _registered(client: MlflowClient, name: str) -> Any | None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

    missing = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code in missing:
            return None
        raise


def _pages(search: Any, query: str | None = None) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(filter_string=query, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _quoted(name: str) -> str:
    if "'" in name:
        raise BadInputError(f"{name!r} is no name of a model: it holds a quote.")
    return name


def _info(version: ModelVersion, aliases: Mapping[str, str]) -> ModelVersionInfo:
    number = str(version.version)
    return ModelVersionInfo(
        name=version.name,
        version=number,
        aliases=tuple(sorted(alias for alias, target in aliases.items() if target == number)),
        run_id=version.run_id or "",
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        source=version.source,
        tags=dict(version.tags),
    )
