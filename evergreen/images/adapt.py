"""Step `adapt`: follow the stream from where the champion's training ended → a record of each window, maybe a model."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from evergreen.errors import BadInputError
from evergreen.files import read_json, remove, sha256_json, write_atomically, write_json
from evergreen.images.bundle import CONFIG, load
from evergreen.images.layout import ImageLayout
from evergreen.images.stream_domain import ImageDomain, Setting
from evergreen.progress import track
from evergreen.stream.adaptation import WindowRef
from evergreen.stream.loop import Loop, LoopState
from evergreen.stream.replay import PREDICTIONS_SCHEMA, cpu_seconds, final_state, replay
from evergreen.training.precision import set_threads


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Score, compare, and where it does harm adapt and prove, window after window.

    Writes ``adaptation/predictions.parquet``, ``adaptation/model`` (a bundle if a challenger was proven, else
    ``none.json``) and ``metrics/adapt.json``.

    Raises:
        BadInputError: a parameter does not fit, or the champion is not the one named or does not say how far its
            training data reach.
    """
    layout = ImageLayout(workspace)
    setting = Setting.read(workspace, params)
    set_threads(params["threads"])
    started = time.perf_counter()
    if params["champion"] is None:
        empty = PREDICTIONS_SCHEMA.empty_table()
        write_atomically(layout.adaptation / "predictions.parquet", lambda part: pq.write_table(empty, part))
        _leave(layout, [], None, "there is no champion to follow the stream with")
        return
    store = state_folder(workspace)
    domain = ImageDomain(layout, setting, store)
    champion = domain.keep(load(layout.champion, params["champion"]), **_facts(layout.champion))
    start = Loop(domain, setting.adapt.loop).start(champion, windows_seen(domain.windows, layout.champion))
    folder = store / "runs" / sha256_json([setting.identity(), start.to_json()])[:32]
    records, final = follow(domain, setting, start, folder, params["model_name"])
    write_atomically(
        layout.adaptation / "predictions.parquet", lambda part: shutil.copy(folder / "predictions.parquet", part)
    )
    _leave(layout, records, _proven(final, champion), None, domain)
    write_json(
        layout.metrics / "adapt.timing.json",
        {"seconds": time.perf_counter() - started, "cpu_seconds": cpu_seconds(folder)},
    )


def follow(
    domain: ImageDomain, setting: Setting, start: LoopState, folder: Path, model_name: str
) -> tuple[list[dict[str, Any]], LoopState]:
    """Run the loop over the windows from ``start`` on; the records and the last state."""
    left = sum(window.rows for window in domain.windows[start.processed :])
    with track("adapt", total=left, unit="images") as bar:
        records = replay(Loop(domain, setting.adapt.loop), start, folder, model_name, bar)
    return records, final_state(folder, start)


def windows_seen(windows: list[WindowRef], champion: Path) -> int:
    """How many of the stream's windows end before the champion's training data do.

    Raises:
        BadInputError: the champion does not say, or the stream begins later.
    """
    horizon: str | None = read_json(champion / CONFIG).get("horizon")
    if horizon is None:
        raise BadInputError(
            f"{champion / CONFIG} has no horizon: this champion does not say how far its training data reach. Run "
            "`evergreen run images` to make one that does."
        )
    seen = sum(window.end.isoformat() <= horizon for window in windows)
    if seen == 0:
        raise BadInputError(
            f"The champion was trained on data up to {horizon}, but the stream of this workspace begins at "
            f"{windows[0].start.isoformat()}: there is no window of its own regime to compare with. Ingest the stream "
            "that it was trained on."
        )
    return seen


def state_folder(workspace: Path) -> Path:
    """Where models and unfinished runs are kept, in EVERGREEN_HOME, outside DVC's outputs."""
    home = Path(os.environ.get("EVERGREEN_HOME") or workspace / ".evergreen")
    return home / "adaptation" / sha256_json(str(workspace.resolve()))[:16]


def _facts(champion: Path) -> dict[str, Any]:
    """What the champion's description says beside what every bundle says."""
    return {name: value for name, value in read_json(champion / CONFIG).items() if name in ("horizon", "policy")}


def _proven(final: LoopState, champion: str) -> str | None:
    """The model that is champion at the end, if it is another one; also if its training would still go on."""
    last = final.incoming[0] if final.incoming else final.model
    return None if last == champion else last


def _leave(
    layout: ImageLayout,
    records: list[dict[str, Any]],
    model: str | None,
    skipped: str | None,
    domain: ImageDomain | None = None,
) -> None:
    target = layout.adaptation / "model"
    if model is None or domain is None:
        remove(target)
        write_json(target / "none.json", {"reason": skipped or "no challenger was proven better"})
    else:
        source = domain.model_folder(model)
        write_atomically(target, lambda part: shutil.copytree(source, part))
    promotions = [record for record in records if record["action"] == "promoted"]
    write_json(
        layout.metrics / "adapt.json",
        {
            "windows": records,
            "drifts": sum(record["drift"] for record in records),
            "harmful": sum(bool(record["harm"] and record["harm"]["harmful"]) for record in records),
            "promotions": len(promotions),
            "weights_sha256": model,
            "decision": promotions[-1]["decision"] if promotions else None,
            "skipped": skipped,
        },
    )
