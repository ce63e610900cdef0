import pyarrow.parquet as pq
import pytest

from evergreen.progress import Silent
from evergreen.stream.loop import Loop
from evergreen.stream.replay import PREDICTIONS_SCHEMA, final_state, replay
from tests.stream.toy_domain import QUIET, REFIT, ROWS, SHIFTED, Day, ToyDomain


class Killed(Exception):
    pass


class Killing(ToyDomain):
    """Dies in the n-th call that the loop makes."""

    def __init__(self, days, fuse):
        super().__init__(days)
        self.fuse = fuse

    def _burn(self):
        self.fuse -= 1
        if self.fuse == 0:
            raise Killed

    def answer(self, model, window):
        self._burn()
        return super().answer(model, window)

    def compare(self, model, reference, window):
        self._burn()
        return super().compare(model, reference, window)

    def adapt(self, policy, model, scope):
        self._burn()
        return super().adapt(policy, model, scope)

    def prove(self, challenger, champion, scope):
        self._burn()
        return super().prove(challenger, champion, scope)


def play(domain, folder):
    loop = Loop(domain, REFIT)
    return replay(loop, loop.start("0.0", 4), folder, "toy", Silent())


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "timing"
    }


@pytest.mark.parametrize("fuse", range(1, 19))
def test_killed_anywhere_goes_on_to_the_same_files(tmp_path, fuse):
    days = QUIET + SHIFTED
    records = play(ToyDomain(days), tmp_path / "whole")
    with pytest.raises(Killed):
        play(Killing(days, fuse), tmp_path / "killed")
    assert play(ToyDomain(days), tmp_path / "killed") == records
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_predictions_are_one_row_an_example_with_labels_known_then(tmp_path):
    domain = ToyDomain(QUIET + SHIFTED)
    records = play(domain, tmp_path)
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert table.schema.equals(PREDICTIONS_SCHEMA)
    frame = table.to_pandas()
    assert len(frame) == ROWS * len(records)
    assert frame["example_id"].is_unique
    assert frame["label"].notna().sum() == len(frame) // 10
    assert frame["label_at"].notna().equals(frame["label"].notna())
    assert frame["model_version"].nunique() == 2
    loop = Loop(domain, REFIT)
    assert final_state(tmp_path, loop.start("0.0", 4)).processed == len(domain.windows)


def test_longer_stream_goes_on_and_a_corrected_window_starts_anew(tmp_path):
    domain = ToyDomain(QUIET + SHIFTED[:2])
    play(domain, tmp_path)
    longer = ToyDomain(QUIET + SHIFTED)
    play(longer, tmp_path)
    assert longer.calls == []  # what was adapted before is not adapted again
    corrected = ToyDomain([*QUIET, Day.draw(2.0, 99), *SHIFTED[1:]])
    records = play(corrected, tmp_path)
    assert len(corrected.calls) == 1
    assert [r["window_id"] for r in records] == [w.window_id for w in corrected.windows[4:]]
