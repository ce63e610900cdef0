from evergreen.files import read_json
from evergreen.images.days import claim, day_folders, next_folder


def test_days_come_in_order_and_parts_count_as_numbers(tmp_path):
    for name in (
        "2026-01-02",
        "2026-01-01.10",
        "2026-01-01",
        "2026-01-01.2",
        "source.json",
        ".2026-01-03.part",
        "2026",
    ):
        (tmp_path / name).mkdir()
    assert [path.name for path in day_folders(tmp_path)] == [
        "2026-01-01",
        "2026-01-01.2",
        "2026-01-01.10",
        "2026-01-02",
    ]
    assert day_folders(tmp_path / "nowhere") == []


def test_late_arrivals_open_the_next_part(tmp_path):
    for expected in ("2026-01-01", "2026-01-01.1", "2026-01-01.2"):
        assert next_folder(tmp_path, "2026-01-01").name == expected
        (tmp_path / expected).mkdir()
    (tmp_path / "2026-01-01.10").mkdir()
    assert next_folder(tmp_path, "2026-01-01").name == "2026-01-01.11"
    assert next_folder(tmp_path, "2026-01-02").name == "2026-01-02"


def test_claim_keeps_days_of_the_same_stream_and_removes_those_of_another(tmp_path):
    claim(tmp_path, {"source": "digits", "seed": 0})
    (tmp_path / "2026-01-01").mkdir()
    (tmp_path / ".2026-01-02.part").mkdir()
    (tmp_path / ".2026-01-02.growing").mkdir()
    (tmp_path / ".gitignore").touch()
    claim(tmp_path, {"source": "digits", "seed": 0})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "2026-01-01", "source.json"]
    claim(tmp_path, {"source": "digits", "seed": 1})
    assert day_folders(tmp_path) == []
    assert read_json(tmp_path / "source.json") == {"source": "digits", "seed": 1}
