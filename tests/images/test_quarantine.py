import hashlib
import io

import pandas as pd
import pytest

from evergreen.images import quarantine
from evergreen.images.quarantine import Quarantine


def test_reasons_are_sorted_and_bytes_are_kept(tmp_path):
    content = b"not an image"
    sha256 = hashlib.sha256(content).hexdigest()
    with Quarantine(tmp_path / "q") as refused:
        refused.refuse_with_bytes("z/b.JPG", "no image: none of PNG", len(content), sha256, io.BytesIO(content))
        refused.refuse("a", "broken link: gone")
        refused.refuse_with_bytes("no-suffix", "no image: at all", len(content), sha256, io.BytesIO(content))
        assert len(refused) == 3
        assert refused.kinds() == {"no image": 2, "broken link": 1}
    rows = pd.read_parquet(tmp_path / "q" / "reasons.parquet")
    assert rows.columns.tolist() == ["path", "reason", "size_bytes", "sha256"]
    assert rows["path"].tolist() == ["a", "no-suffix", "z/b.JPG"]
    assert rows["sha256"].fillna("").tolist() == ["", sha256, sha256]
    assert (tmp_path / "q" / "files" / f"{sha256}.jpg").read_bytes() == content
    assert (tmp_path / "q" / "files" / sha256).read_bytes() == content


def test_only_the_beginning_of_a_huge_file_is_kept_and_the_reason_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine, "COPY_LIMIT", 3 << 20)
    content = bytes(range(256)) * (5 << 12)
    with Quarantine(tmp_path / "q") as refused:
        refused.refuse_with_bytes("a.tif", "too many pixels: 9", len(content), "0" * 64, io.BytesIO(content))
    assert (tmp_path / "q" / "files" / f"{'0' * 64}.tif").read_bytes() == content[: 3 << 20]
    reason = pd.read_parquet(tmp_path / "q" / "reasons.parquet")["reason"][0]
    assert reason == "too many pixels: 9 (kept: the first 3 MiB of 5,242,880 bytes)"


def test_an_empty_quarantine_is_a_table_without_rows(tmp_path):
    with Quarantine(tmp_path / "q"):
        pass
    assert len(pd.read_parquet(tmp_path / "q" / "reasons.parquet")) == 0
    assert [path.name for path in (tmp_path / "q").iterdir()] == ["reasons.parquet"]


def test_a_new_quarantine_replaces_the_old_one_only_when_it_is_complete(tmp_path):
    with Quarantine(tmp_path / "q") as refused:
        refused.refuse("old", "why: so")

    def stop_halfway():
        with Quarantine(tmp_path / "q") as refused:
            refused.refuse("new", "why: so")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_halfway()
    assert pd.read_parquet(tmp_path / "q" / "reasons.parquet")["path"].tolist() == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["q"]
