from evergreen.code import ROOT, code_sha256


def test_code_is_named_by_all_its_files(tmp_path, monkeypatch):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 1\n")
    monkeypatch.setattr("evergreen.code.ROOT", tmp_path)
    code_sha256.cache_clear()
    whole, part = code_sha256(), code_sha256("part")
    (tmp_path / "b.py").write_text("y = 2\n")
    code_sha256.cache_clear()
    assert code_sha256() != whole
    assert code_sha256("part") == part
    (tmp_path / "part" / "a.py").rename(tmp_path / "part" / "c.py")
    code_sha256.cache_clear()
    assert code_sha256("part") != part
    code_sha256.cache_clear()


def test_parts_are_packages_of_the_library():
    assert (ROOT / "images" / "policies.py").is_file()
    assert len({code_sha256(), code_sha256("images"), code_sha256("stream")}) == 3
