"""Where Evergreen keeps its state, and the environment of everything it starts: one object, made in one place."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evergreen.errors import BadInputError

CHECKOUT = Path(__file__).resolve().parents[1]
LOOPBACK = "127.0.0.1"

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",  # the word: MLflow ignores 1
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "DVC_STUDIO_OFFLINE": "true",
    "GX_ANALYTICS_ENABLED": "false",
}


@dataclass(frozen=True)
class Settings:
    """The places of this installation. Nothing else builds a path into the state folder or the URI of a server.

    Attributes:
        checkout: the folder with dvc.yaml and the packages.
        home: state that outlives a run: MLflow store, Prefect database, locks, checkpoints, workspaces, DVC cache.
        tracking_uri: MLflow's store, absolute. A remote one where MLFLOW_TRACKING_URI names it.
        prefect_api: an existing Prefect API (PREFECT_API_URL), None where a run starts its own.
    """

    checkout: Path
    home: Path
    tracking_uri: str
    prefect_api: str | None

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings: EVERGREEN_HOME, MLFLOW_TRACKING_URI, PREFECT_API_URL, else defaults inside the checkout.

        Raises:
            BadInputError: the packages do not lie in a checkout, so there is no pipeline to run.
        """
        if not (CHECKOUT / "dvc.yaml").is_file():
            raise BadInputError(
                f"{CHECKOUT} holds no dvc.yaml: Evergreen runs from its checkout. "
                "Clone the repository and install it with `make setup` or `pip install --editable .`."
            )
        home = Path(environment.get("EVERGREEN_HOME") or CHECKOUT / ".evergreen").expanduser().absolute()
        return cls(
            checkout=CHECKOUT,
            home=home,
            tracking_uri=environment.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}",
            prefect_api=environment.get("PREFECT_API_URL") or None,
        )

    @property
    def local_store(self) -> bool:
        """Whether the MLflow store is a file or database opened by this process, not a tracking server."""
        return not self.tracking_uri.startswith(("http://", "https://", "databricks"))

    @property
    def artifacts(self) -> Path:
        """Folder of the artifacts of a local store; a tracking server has its own."""
        return self.home / "artifacts"

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the prediction ledger: EVERGREEN_LEDGER_URL, else a SQLite file in the home."""
        return os.environ.get("EVERGREEN_LEDGER_URL") or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def prefect_home(self) -> Path:
        """Prefect's database and profiles."""
        return self.home / "prefect"

    @property
    def locks(self) -> Path:
        """Lock files of what several runs share: server start, store migration, promotion."""
        return self.home / "locks"

    @property
    def logs(self) -> Path:
        """Output of the servers that run in the background."""
        return self.home / "logs"

    @property
    def workspaces(self) -> Path:
        """Workspaces without a folder of the user's choice."""
        return self.home / "workspaces"

    @property
    def cache(self) -> Path:
        """DVC's cache: shared by all workspaces of this home."""
        return self.home / "cache"

    @property
    def dvc_state(self) -> Path:
        """DVC's memory of file hashes, which it would keep outside the home."""
        return self.home / "dvc-state"

    @property
    def remote(self) -> Path:
        """The default DVC remote, a local folder."""
        return self.home / "remote"

    def environment(self) -> dict[str, str]:
        """Variables of every process: stores, no telemetry, no caches or pickles of Prefect's and MLflow's own."""
        values = (
            TELEMETRY_OFF
            | {
                "EVERGREEN_HOME": str(self.home),
                "MLFLOW_TRACKING_URI": self.tracking_uri,
                "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
                "DVC_SITE_CACHE_DIR": str(self.dvc_state),
                "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads lose ten times their speed to a busy neighbour
                "PREFECT_HOME": str(self.prefect_home),
                "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
                "PREFECT_TASKS_DISABLE_CACHING": "true",
                "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            }
            | dict.fromkeys(("no_proxy", "NO_PROXY"), _without_proxy())
        )
        return values | ({"PREFECT_API_URL": self.prefect_api} if self.prefect_api else {})

    def child_environment(self) -> dict[str, str]:
        """The environment of a child process: this one's, the settings', and this installation's commands first."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return os.environ | self.environment() | {"PATH": path}

    def apply(self) -> "Settings":
        """Set the environment of this process and make the home. Call it before Prefect or MLflow is imported."""
        for folder in (self.home, self.artifacts, self.prefect_home, self.locks, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        self.dvc_state.mkdir(mode=0o700, exist_ok=True)  # DVC opens what is in it to everybody
        os.environ.update(self.environment())
        return self


def _without_proxy() -> str:
    """The hosts that are asked directly: those of before, and loopback, where our own servers are."""
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return ",".join(dict.fromkeys([*filter(None, before.split(",")), LOOPBACK, "localhost"]))
