"""A workspace: params.yaml, dvc.yaml, dvc.lock and data/ in one folder, for one domain.

The checkout is the default one of the images. Any other folder gets its domain's pipeline, links to the code and a DVC
configuration of its own, with the cache shared through the home.

Which parameters hold: a new workspace starts from the checkout's params.yaml. Naming a profile writes the profile's
parameters, also over a params.yaml that exists; without one an existing params.yaml is kept. Single values given on the
command line are written on top. The model name and the champion belong to the workspace and stay.
"""

import copy
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from ruamel.yaml import YAML

from evergreen.config import read_yaml
from evergreen.errors import BadInputError
from evergreen.files import remove, write_atomically
from tasks.settings import Settings

IMAGES = "images"
DEFAULT_PROFILE = "laptop"
LINKS = ("evergreen", "mlflow", "requirements.lock")
DVC_CONFIG = """\
[core]
    no_scm = true
    analytics = false
    check_update = false
    autostage = false
    site_cache_dir = {state}
    remote = local
[cache]
    dir = {cache}
    type = copy
['remote "local"']
    url = {remote}
"""
DVC_IGNORE = "__pycache__\n*.pyc\n"


@dataclass(frozen=True)
class Workspace:
    """An opened workspace.

    Attributes:
        root: absolute path of the folder.
        domain: images, retail or process: the section of params.yaml that holds here.
    """

    root: Path
    domain: str = IMAGES

    @property
    def params_file(self) -> Path:
        return self.root / "params.yaml"

    @property
    def params(self) -> dict[str, Any]:
        """The whole params.yaml as it is now: a section per domain."""
        return read_yaml(self.params_file)

    @property
    def section(self) -> dict[str, Any]:
        """The domain's section of params.yaml as it is now."""
        section: dict[str, Any] = self.params[self.domain]
        return section

    @property
    def model_name(self) -> str:
        """Name of the domain's model in the registry."""
        return str(self.section["model_name"])

    @property
    def data(self) -> Path:
        """The domain's folder of what DVC owns."""
        return self.root / "data" / self.domain

    @property
    def metrics(self) -> Path:
        return self.data / "metrics"

    def update(self, domain: str, values: Mapping[str, Any]) -> None:
        """Write values into a domain's section of params.yaml; nested mappings are merged, comments stay."""
        document = _yaml().load(self.params_file.read_text())
        if _merge(document[domain], values):
            _write_yaml(self.params_file, document)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace: one run at a time. Says so when it has to wait; a killed holder leaves nothing behind."""
        path = self.root / ".dvc" / "tmp" / "evergreen.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, thread_local=False, is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            print(f"Another run works in {self.root}: waiting for it to end.", flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


@contextmanager
def open_workspace(
    settings: Settings,
    domain: str,
    *,
    profile: str | None = None,
    workdir: Path | None = None,
    model_name: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> Iterator[Workspace]:
    """Open a workspace, making it if need be, write the given parameters into it, and hold it for the block.

    Args:
        settings: the places of this installation.
        domain: ``images``, ``retail`` or ``process``: the section of params.yaml that the parameters below belong to.
        profile: a name under ``profiles/<domain>/``, or ``laptop``: params.yaml as it is committed.
        workdir: the folder; by default the checkout, or for another profile than laptop one of its own in the home.
        model_name: name in the model registry; default ``<domain>``, ``<domain>-<profile>`` or ``<domain>-<folder>``.
        values: single parameters of the domain, nested as in params.yaml.

    Raises:
        BadInputError: there is no such profile, ``workdir`` is a file, or it is the workspace of another domain.
    """
    overlay = _overlay(settings, domain, profile)
    root, default_name = _place(settings, domain, profile, workdir)
    workspace = Workspace(root, domain)
    with workspace.lock():
        if root != settings.checkout:
            _check_domain(root, domain)
            _furnish(settings, root, domain)
            if profile is not None or not workspace.params_file.exists():
                _write_params(settings, workspace, domain, overlay, default_name)
        workspace.update(domain, dict(values or {}) | ({"model_name": model_name} if model_name else {}))
        yield workspace


def _place(settings: Settings, domain: str, profile: str | None, workdir: Path | None) -> tuple[Path, str]:
    """The folder and the default model name."""
    if workdir is not None:
        root = workdir.expanduser().resolve()
        if root.exists() and not root.is_dir():
            raise BadInputError(f"--workdir {workdir} is a file. Name a folder; it is made if it does not exist.")
        if root == settings.checkout and domain != IMAGES:
            raise BadInputError(f"The checkout is the workspace of the images. Name another folder for {domain}.")
        return root, domain if root == settings.checkout else f"{domain}-{root.name}"
    if profile in (None, DEFAULT_PROFILE):
        return (settings.checkout if domain == IMAGES else settings.workspaces / domain), domain
    return settings.workspaces / f"{domain}-{profile}", f"{domain}-{profile}"


def _overlay(settings: Settings, domain: str, profile: str | None) -> dict[str, Any]:
    if profile in (None, DEFAULT_PROFILE):
        return {}
    folder = settings.checkout / "profiles" / domain
    path = folder / f"{profile}.yaml"
    if not path.is_file():
        known = sorted({DEFAULT_PROFILE, *(file.stem for file in folder.glob("*.yaml"))})
        raise BadInputError(f"There is no profile {profile!r} for {domain}. Profiles: {', '.join(known)}.")
    section: dict[str, Any] = read_yaml(path)[domain]
    return section


def pipeline(checkout: Path, domain: str) -> Path:
    """The file with a domain's stages. Only the images' is named as DVC expects: the others need a user's input."""
    return checkout / "dvc.yaml" if domain == IMAGES else checkout / "pipelines" / f"{domain}.yaml"


def _check_domain(root: Path, domain: str) -> None:
    """One folder, one domain: two would overwrite each other's pipeline."""
    path = root / "dvc.yaml"
    stages = read_yaml(path).get("stages", {}) if path.is_file() else {}
    found = {stage["cmd"].split()[2] for stage in stages.values() if stage["cmd"].startswith("evergreen step ")}
    if found - {domain}:
        other = ", ".join(sorted(found))
        raise BadInputError(f"{root} is a workspace of {other}. Name another folder with --workdir for {domain}.")


def _furnish(settings: Settings, root: Path, domain: str) -> None:
    """Put pipeline, links to the code and DVC's configuration in place; what is right already stays untouched."""
    root.mkdir(parents=True, exist_ok=True)
    for name in LINKS:
        link, target = root / name, settings.checkout / name
        if link.is_symlink() and Path(os.readlink(link)) == target:
            continue
        if link.exists() and not link.is_symlink():
            raise BadInputError(f"{link} is in the way of a workspace. Move it, or name another folder with --workdir.")
        remove(link)
        link.symlink_to(target)
    config = DVC_CONFIG.format(state=settings.dvc_state, cache=settings.cache, remote=settings.remote)
    _write_text(root / ".dvc" / "config", config)
    _write_text(root / ".dvcignore", DVC_IGNORE)
    _write_text(root / "dvc.yaml", pipeline(settings.checkout, domain).read_text())


def _write_params(
    settings: Settings, workspace: Workspace, domain: str, overlay: Mapping[str, Any], default_name: str
) -> None:
    """The checkout's parameters with the profile's over them; name and champion are the workspace's own."""
    own: dict[str, Any] = {"model_name": default_name, "champion": None}
    if workspace.params_file.exists():
        present = workspace.params.get(domain) or {}
        own |= {name: present[name] for name in own if name in present}
    document = _yaml().load((settings.checkout / "params.yaml").read_text())
    _merge(document[domain], overlay)
    _merge(document[domain], own)
    _write_yaml(workspace.params_file, document)


def _merge(target: dict[str, Any], values: Mapping[str, Any]) -> bool:
    """Write nested values over others; whether anything changed."""
    changed = False
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(target.get(name), dict):
            changed |= _merge(target[name], value)
        elif name not in target or target[name] != value:
            target[name] = copy.deepcopy(value)
            changed = True
    return changed


def _yaml() -> YAML:
    yaml = YAML()  # round trip: comments and quotes stay
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _write_yaml(path: Path, document: Any) -> None:
    text = io.StringIO()
    _yaml().dump(document, text)
    _write_text(path, text.getvalue())


def _write_text(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text() != text:
        write_atomically(path, lambda part: part.write_text(text))
