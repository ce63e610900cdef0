import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.errors import BadInputError
from evergreen.images.folder import Entry, folder_digest, folder_params, scan


def touch(path, content=b"x", mtime_ns=1_767_225_600_123_456_789):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def found(folder):
    return {entry.name: entry for entry in scan(folder)}


@pytest.mark.parametrize(
    ("relative", "label"),
    [
        ("cat/1.png", "cat"),
        ("cat/2024/summer/1.png", "cat"),
        ("1.png", None),
        ("unlabelled/1.png", None),
        ("Unlabeled/1.png", None),
        ("unknown/cat/1.png", None),
        ("Cafe\u0301/1.png", "Café"),
    ],
)
def test_the_first_folder_is_the_class(relative, label):
    assert Entry(relative, 1, 0).label == label


def test_every_file_is_found_sorted_with_size_and_time(tmp_path):
    for name in ("b.png", "a/c/d.png", "a/b.png", "a.png"):
        touch(tmp_path / name, name.encode())
    (tmp_path / "empty").mkdir()
    entries = scan(tmp_path)
    assert [entry.relative for entry in entries] == ["a.png", "a/b.png", "a/c/d.png", "b.png"]
    assert [entry.size_bytes for entry in entries] == [5, 7, 9, 5]
    assert {entry.arrived_us for entry in entries} == {1_767_225_600_123_456}
    assert all(entry.problem is None for entry in entries)


def test_links_are_followed_unless_they_lead_nowhere_or_in_a_circle(tmp_path):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    touch(folder / "a" / "1.png")
    touch(outside / "2.png")
    (folder / "b").symlink_to(outside)
    (folder / "c.png").symlink_to(outside / "2.png")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "self.png").symlink_to("self.png")
    (folder / "a" / "up").symlink_to(folder)
    (outside / "back").symlink_to(folder)
    problems = {name: entry.problem for name, entry in found(folder).items()}
    assert problems == {
        "a/1.png": None,
        "a/up": "circular link: it leads to a folder that it lies in",
        "b/2.png": None,
        "b/back": "circular link: it leads to a folder that it lies in",
        "c.png": None,
        "gone.png": "broken link: No such file or directory",
        "self.png": "circular link: Too many levels of symbolic links",
    }


def test_pipes_and_impossible_dates_are_problems(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    touch(tmp_path / "far.png", mtime_ns=9_300_000_000 * 10**9)
    touch(tmp_path / "before-1970.png", mtime_ns=-86_400 * 10**9 - 1)
    entries = found(tmp_path)
    assert entries["pipe"].problem.startswith("no regular file: ")
    assert entries["far.png"].problem.startswith("impossible date: ")
    assert entries["before-1970.png"].problem is None
    assert entries["before-1970.png"].arrived_us == -86_400_000_001


def test_a_deep_tree_is_no_problem(tmp_path):
    deep = "/".join(["d"] * 1200)
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1200):  # step by step: the whole path is close to what the system takes
            os.mkdir("d", dir_fd=here)
            inner = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(os.open("1.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    finally:
        os.close(here)
    try:
        assert [entry.relative for entry in scan(tmp_path)] == [f"{deep}/1.png"]
    finally:  # Python's own removal of folders is recursive and would fail on it
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_names_that_are_no_utf_8_are_escaped_and_stay_apart(tmp_path):
    for name in (b"\xff.png", b"\\xff.png"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")
    entries = scan(tmp_path)
    assert [entry.name for entry in entries] == ["\\xff.png", "\\xff.png"]
    assert len({entry.image_id("0" * 64) for entry in entries}) == 2


@given(
    first=st.tuples(st.text(min_size=1, max_size=5), st.integers(0, 5)),
    second=st.tuples(st.text(min_size=1, max_size=5), st.integers(0, 5)),
)
def test_an_image_id_stands_for_path_and_content(first, second):
    def name(path, content):
        return Entry(path, 1, 0).image_id(f"{content:064d}")

    try:
        os.fsencode(first[0] + second[0])
    except UnicodeEncodeError:
        return  # surrogates that no file name can hold
    assert (name(*first) == name(*second)) == (first == second)


def test_missing_empty_and_wrong_folders_are_refused(tmp_path):
    touch(tmp_path / "file")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    for place, message in (("none", "is no folder"), ("file", "is no folder"), ("empty", "is empty")):
        with pytest.raises(BadInputError, match=message):
            scan(tmp_path / place)


def test_digest_sees_additions_removals_sizes_and_times_and_nothing_else(tmp_path):
    def build(folder, **changes):
        files = {"a/1.png": (b"x", 10**18), "b.png": (b"yy", 10**18 + 1)} | changes
        for name, made in files.items():
            if made:
                touch(folder / name, *made)
        return folder_digest(folder)

    base = build(tmp_path / "0")
    assert build(tmp_path / "1") == base
    assert build(tmp_path / "other-content", **{"a/1.png": (b"z", 10**18)}) == base
    variants = [
        {"b.png": None},
        {"c.png": (b"", 10**18)},
        {"b.png": (b"yyy", 10**18 + 1)},
        {"b.png": (b"yy", 10**18 + 2)},
        {"b.png": None, "b2.png": (b"yy", 10**18 + 1)},
    ]
    digests = {build(tmp_path / f"v{number}", **changes) for number, changes in enumerate(variants)}
    assert len(digests | {base}) == len(variants) + 1


def test_folder_params_are_what_a_later_run_needs(tmp_path, monkeypatch):
    touch(tmp_path / "in" / "1.png")
    monkeypatch.chdir(tmp_path)
    expected = {"source": "folder", "folder": str(tmp_path / "in"), "folder_digest": folder_digest(tmp_path / "in")}
    assert folder_params(Path("in")) == folder_params(tmp_path / "in" / ".." / "in") == expected


def test_what_may_not_be_read_is_a_problem():
    """Root may read everything: the child that looks gives its rights up first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        touch(folder / "free.png")
        touch(folder / "locked.png")
        touch(folder / "locked" / "1.png")
        (folder / "locked.png").chmod(0)
        (folder / "locked").chmod(0)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            if os.geteuid() == 0:
                os.setuid(65_534)
            lines = "\n".join(f"{entry.name}={entry.problem}" for entry in scan(folder))
            os.write(writer, lines.encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            lines = answer.read().splitlines()
        os.waitpid(child, 0)
        (folder / "locked").chmod(0o700)
    assert lines == [
        "free.png=None",
        "locked=unreadable folder: Permission denied",
        "locked.png=unreadable file: permission denied",
    ]
