"""How often does the drift check alarm without drift, and which noise does it see?

The images of a workspace that ingested CIFAR-10 are put into a new seeded order of arrival again and again. The windows
after the reference then hold nothing but images of the same distribution, so every alarm is a false one. Then noise of
CIFAR-10-C is added to the images of one window, to all of them or to a share. Statistics are computed once for each
image, and permuted.

    python benchmarks/drift_false_alarms.py WORKSPACE [--seeds 20] [--champion FOLDER]
"""

import argparse
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from threadpoolctl import threadpool_limits

from evergreen.config import read_yaml
from evergreen.files import write_json
from evergreen.images.arrays import open_images, read_index
from evergreen.images.corruption import noisy
from evergreen.images.days import day_folders
from evergreen.images.drift import DriftConfig, Embed, Measured, Reference, compare, measure, pool_reference
from evergreen.images.ingest_config import IngestConfig
from evergreen.images.layout import ImageLayout
from evergreen.images.statistics import describe
from evergreen.progress import track

SEVERITIES = (1, 2, 3, 4, 5)
SHARES = (0.02, 0.05, 0.1, 0.2)  # of a window's images that carry noise of severity 3
RESULT = Path(__file__).parent / "results" / "drift_false_alarms.json"


@dataclass(frozen=True)
class Stream:
    """Clean images, what the drift check measures of them, and how it compares.

    Attributes:
        pixels: uint8 (N, H, W, 3); first those of the stream, then those of the test set, which take the place of the
            stream's noisy ones.
        ids: (N,) image ids.
        arrived: how many are of the stream.
        statistics: (N, features).
        encoded: (N, D) the champion's features; None without one.
        embed: computes those; None without a champion.
        config: of the drift check.
        days: windows of a stream.
        rows: images of a window.
    """

    pixels: NDArray[np.uint8]
    ids: NDArray[np.str_]
    arrived: int
    statistics: NDArray[np.float64]
    encoded: NDArray[np.float64] | None
    embed: Embed | None
    config: DriftConfig
    days: int
    rows: int

    @classmethod
    def read(cls, workspace: Path, champion: Path | None) -> "Stream":
        """Read and measure the clean images of a workspace."""
        layout, params = ImageLayout(workspace), read_yaml(workspace / "params.yaml")["images"]
        ingest = IngestConfig.read(params["ingest"], "params.yaml: images.ingest")
        folders = [*day_folders(layout.raw)[: ingest.noise_from_day], layout.test / "clean"]
        pixels = np.concatenate([open_images(folder) for folder in folders])
        return cls(
            pixels=pixels,
            ids=np.concatenate([read_index(folder)["image_id"].to_numpy(dtype=str) for folder in folders]),
            arrived=len(pixels) - len(open_images(folders[-1])),
            statistics=describe(pixels).to_numpy(),
            encoded=None if (embed := _champion(champion)) is None else embed(pixels).astype(np.float64),
            embed=embed,
            config=DriftConfig.read(params["drift"], "params.yaml: images.drift"),
            days=ingest.noise_from_day or ingest.days,
            rows=ingest.images_per_day,
        )

    def p_values(self, seed: int) -> dict[str, dict[str, float]]:
        """What the step would record for the windows of one order of arrival, by kind of window and name."""
        rng = np.random.default_rng([2026, seed])
        windows = self._cut(rng.permutation(len(self.pixels)))[: self.days]
        first = self.config.reference_windows
        reference = self._reference(windows[:first], rng)
        # images that the champion was trained on against images that it never saw
        trained = self._reference(self._cut(rng.permutation(self.arrived))[:first], rng)
        unseen = self._cut(self.arrived + rng.permutation(len(self.pixels) - self.arrived))
        clean = {
            str(number): self._p(reference, self._measured(w, rng), rng) for number, w in enumerate(windows[first:])
        }
        return {
            "clean": clean,
            "unseen": {str(number): self._p(trained, self._measured(w, rng), rng) for number, w in enumerate(unseen)},
            "severity": {str(s): self._p(reference, self._noisy(windows[-1], 1, s, rng), rng) for s in SEVERITIES},
            "share": {str(share): self._p(reference, self._noisy(windows[-1], share, 3, rng), rng) for share in SHARES},
        }

    def _cut(self, members: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [members[start : start + self.rows] for start in range(0, len(members) - self.rows + 1, self.rows)]

    def _reference(self, windows: Sequence[NDArray[np.int64]], rng: np.random.Generator) -> Reference:
        return pool_reference([self._measured(window, rng) for window in windows], self.config, rng)

    def _measured(self, members: NDArray[np.int64], rng: np.random.Generator) -> Measured:
        count = self.config.sampled(len(members), self.encoded is not None)
        rows = np.sort(rng.choice(len(members), size=count, replace=False))
        encoded = None if self.encoded is None else self.encoded[members[rows]]
        return Measured(self.statistics[members], rows, encoded)

    def _noisy(self, members: NDArray[np.int64], share: float, severity: int, rng: np.random.Generator) -> Measured:
        pixels, count = self.pixels[members].copy(), round(share * len(members))
        pixels[:count] = noisy(pixels[:count], self.ids[members[:count]].tolist(), severity, int(rng.integers(2**31)))
        return measure(pixels, self.config, rng, self.embed)

    def _p(self, reference: Reference, window: Measured, rng: np.random.Generator) -> float:
        return min(test.p_adjusted for test in compare(reference, window, self.config, rng))


def _champion(folder: Path | None) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None:
    if folder is None:
        return None
    from evergreen.images.bundle import load

    return load(folder).embed


def rate(p_values: Sequence[float], alpha: float) -> dict[str, Any]:
    """Alarms among windows, with the Clopper-Pearson interval of 95 % of their rate."""
    n, alarms = len(p_values), sum(p <= alpha for p in p_values)
    low = float(beta.ppf(0.025, alarms, n - alarms + 1)) if alarms else 0.0
    high = float(beta.ppf(0.975, alarms + 1, n - alarms)) if alarms < n else 1.0
    return {"windows": n, "alarms": alarms, "rate": alarms / n, "interval_95": [low, high], "smallest_p": min(p_values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path, help="a workspace that ingested CIFAR-10")
    parser.add_argument("--seeds", type=int, default=20, help="orders of arrival")
    parser.add_argument("--champion", type=Path, help="folder of a classifier whose features are tested too")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with threadpool_limits(1):
        stream = Stream.read(arguments.workspace, arguments.champion)
        runs = []
        with track("orders", total=arguments.seeds, unit="seeds") as progress:
            for seed in range(arguments.seeds):
                runs.append(stream.p_values(seed))
                progress.advance()

    def summary(kind: str) -> dict[str, Any]:
        return {name: rate([run[kind][name] for run in runs], stream.config.alpha) for name in runs[0][kind]}

    def pooled(kind: str) -> dict[str, Any]:
        return rate([p for run in runs for p in run[kind].values()], stream.config.alpha)

    result = {
        "seeds": arguments.seeds,
        "encoder_features": arguments.champion is not None,
        "config": stream.config.model_dump(),
        "rows_per_window": stream.rows,
        "clean_windows": pooled("clean"),
        "windows_of_the_test_set": pooled("unseen"),
        "noise_by_severity": summary("severity"),
        "noise_of_severity_3_by_share_of_images": summary("share"),
        "p_values": [run["clean"] for run in runs],
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("numpy", "scipy")} | {"python": platform.python_version()},
    }
    write_json(arguments.output, result)
    for name in ("clean_windows", "windows_of_the_test_set"):
        print(f"{name}: {result[name]}")
    for name in ("noise_by_severity", "noise_of_severity_3_by_share_of_images"):
        for level, found in result[name].items():
            print(f"{name} {level}: {found['alarms']} of {found['windows']} windows reported")


if __name__ == "__main__":
    main()
