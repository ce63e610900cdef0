"""Step `drift`: does a window's content still look like that of the reference windows?"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pydantic
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from evergreen.config import Config
from evergreen.files import write_json
from evergreen.images.arrays import open_images
from evergreen.images.layout import ImageLayout
from evergreen.images.statistics import FEATURES, describe
from evergreen.images.windows import Window, read_windows
from evergreen.progress import Progress, track
from evergreen.stream.two_sample import holm, kolmogorov_smirnov, maximum_mean_discrepancy

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
FAMILIES = 2  # the single features and the MMD: each may err with half of alpha


class DriftConfig(Config):
    """How windows are compared with the reference.

    Attributes:
        reference_windows: the first windows of the stream, pooled, are the reference.
        alpha: probability of an alarm in a window without drift, over all its tests.
        min_rows: smaller windows (and a smaller reference) are not tested.
        samples: images of a window that the MMD looks at; the tests of single statistics see all.
        encoder_samples: images of a window that the champion encodes, which costs a hundred times as much as the
            statistics; with a champion the MMD looks at those.
        mmd_permutations: of the MMD's p-value.
        encoder_components: principal components of the champion's features that are tested.
    """

    reference_windows: int = pydantic.Field(5, ge=1)
    alpha: float = pydantic.Field(0.001, gt=0, lt=1)
    min_rows: int = pydantic.Field(20, ge=2)
    samples: int = pydantic.Field(500, ge=4)
    encoder_samples: int = pydantic.Field(250, ge=4)
    mmd_permutations: int = pydantic.Field(4999, ge=1)
    encoder_components: int = pydantic.Field(10, ge=1)

    def sampled(self, rows: int, encoder: bool) -> int:
        """How many of a window's ``rows`` images are sampled, with a champion's encoder or without."""
        return min(rows, self.encoder_samples if encoder else self.samples)

    @pydantic.model_validator(mode="after")
    def _resolution(self) -> Self:
        needed = int(np.ceil(FAMILIES / self.alpha)) - 1
        if self.mmd_permutations < needed:
            raise ValueError(f"mmd_permutations must be at least {needed}, or no p-value can be as small as alpha / 2")
        return self


@dataclass(frozen=True)
class WindowTest:
    """One test of a window. ``p_adjusted`` ≤ alpha is an alarm: it accounts for all the tests of the window."""

    name: str
    kind: Literal["ks", "mmd"]
    statistic: float
    p_value: float
    p_adjusted: float


@dataclass(frozen=True)
class Measured:
    """A window in numbers.

    Attributes:
        statistics: (n, features) of every image.
        rows: (k,) positions of the sampled images.
        encoded: (k, D) the champion's features of those; None without a champion.
    """

    statistics: NDArray[np.float64]
    rows: NDArray[np.int64]
    encoded: NDArray[np.float64] | None


@dataclass(frozen=True)
class Reference:
    """The reference windows in numbers.

    Attributes:
        statistics: (n, features) of every image.
        sample: (k, features) of sampled images.
        components: (k, c) principal components of their encoder features; None without a champion.
        project: features (m, D) to components (m, c); fitted on other images than the sampled ones, so that the sample
            and a window of the same kind are equally strange to it.
    """

    statistics: NDArray[np.float64]
    sample: NDArray[np.float64]
    components: NDArray[np.float64] | None
    project: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None


def run(workspace: Path, params: dict[str, Any]) -> None:
    """Compare each window with the reference; write drift.json.

    Raises:
        BadInputError: there are no windows, the champion is not the one named, or a parameter does not fit.
    """
    config = DriftConfig.read(params["drift"], "params.yaml: images.drift")
    layout = ImageLayout(workspace)
    windows = read_windows(layout.windows)
    embed = _champion(layout, params["champion"], params["threads"])
    timings: list[dict[str, Any]] = []
    started = last = time.perf_counter()
    records = []
    with (
        threadpool_limits(params["threads"]),
        track("drift", total=sum(window.rows for window in windows), unit="images") as progress,
    ):
        for record in compare_windows(layout.windows, windows, config, params["seed"], embed, progress):
            records.append(record)
            now = time.perf_counter()
            timings.append({"window_id": record["window_id"], "milliseconds": 1000 * (now - last)})
            last = now
    write_json(layout.metrics / "drift.json", records)
    write_json(layout.metrics / "drift.timing.json", {"seconds": last - started, "windows": timings})


def _champion(layout: ImageLayout, weights_sha256: str | None, threads: int) -> Embed | None:
    if weights_sha256 is None:
        return None
    from evergreen.images.bundle import load  # torch takes seconds to import, and most first runs need none
    from evergreen.training.precision import set_threads

    set_threads(threads)
    return load(layout.champion, weights_sha256).embed


def compare_windows(
    root: Path, windows: Sequence[Window], config: DriftConfig, seed: int, embed: Embed | None, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Yield the drift record of each window, in order. What a window gets does not depend on the windows after it.

    Args:
        root: the folder of all windows.
        windows: in order.
        config: how to compare.
        seed: of samples and permutations.
        embed: the champion's features of images; None without a champion.
        progress: told of every image.
    """
    pool: list[Measured] = []
    reference: Reference | None = None
    for number, window in enumerate(windows):
        rng = np.random.default_rng([seed, int(window.content_hash[:16], 16)])
        measured = measure(open_images(root / window.window_id), config, rng, embed)
        progress.advance(window.rows)
        if number < config.reference_windows:
            pool.append(measured)
            short = len(windows) <= config.reference_windows
            note = (
                f"part of the reference; {config.reference_windows} windows are too few to compare" if short else None
            )
            yield _record(window, None, config, reference=True, note=note)
            continue
        if reference is None:
            reference = pool_reference(pool, config, np.random.default_rng(seed))
        if (fewest := min(window.rows, len(reference.statistics), len(reference.sample))) < config.min_rows:
            note = f"not tested: {fewest} images, at least {config.min_rows} are needed in window and reference"
            yield _record(window, None, config, note=note)
        else:
            yield _record(window, compare(reference, measured, config, rng), config)


def measure(images: NDArray[np.uint8], config: DriftConfig, rng: np.random.Generator, embed: Embed | None) -> Measured:
    """Measure a window: the statistics of all its images (N, H, W, 3), the champion's features of some of them."""
    rows = np.sort(rng.choice(len(images), size=config.sampled(len(images), embed is not None), replace=False))
    encoded = None if embed is None else embed(images[rows]).astype(np.float64)
    return Measured(describe(images).to_numpy(), rows, encoded)


def pool_reference(windows: Sequence[Measured], config: DriftConfig, rng: np.random.Generator) -> Reference:
    """Put the reference windows together; with a champion, half of the sampled images go into the projection."""
    statistics = np.concatenate([window.statistics for window in windows])
    sample = np.concatenate([window.statistics[window.rows] for window in windows])
    encoded = [window.encoded for window in windows if window.encoded is not None]
    if not encoded:
        return Reference(statistics, sample, None, None)
    features = np.concatenate(encoded)
    order = rng.permutation(len(features))
    fitted, kept = order[: len(order) // 2], order[len(order) // 2 :]
    centre = features[fitted].mean(axis=0)
    _, _, axes = np.linalg.svd(features[fitted] - centre, full_matrices=False)  # axes: (≤ D, D), by decreasing variance
    basis = axes[: config.encoder_components].T

    def project(new: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((new - centre) @ basis)

    return Reference(statistics, sample[kept], project(features[kept]), project)


def compare(reference: Reference, window: Measured, config: DriftConfig, rng: np.random.Generator) -> list[WindowTest]:
    """Test a window against the reference.

    A Kolmogorov-Smirnov test for each statistic and each component, adjusted together (Holm), and one MMD over all of
    them. Each of the two families gets half of alpha (Bonferroni), so adjusted p-values are doubled.
    """
    sample = window.statistics[window.rows]
    columns = {
        name: (reference.statistics[:, number], window.statistics[:, number]) for number, name in enumerate(FEATURES)
    }
    left, right = reference.sample, sample
    if reference.components is not None and reference.project is not None and window.encoded is not None:
        components = reference.project(window.encoded)
        for number in range(components.shape[1]):
            columns[f"encoder_{number + 1}"] = (reference.components[:, number], components[:, number])
        left, right = np.hstack([left, reference.components]), np.hstack([right, components])
    single = [kolmogorov_smirnov(*pair) for pair in columns.values()]
    adjusted = holm([result.p_value for result in single])
    chosen = rng.choice(len(left), size=min(config.samples, len(left)), replace=False)
    joint = maximum_mean_discrepancy(left[chosen], right, config.mmd_permutations, rng)
    return [
        *(
            WindowTest(name, "ks", result.statistic, result.p_value, min(1.0, FAMILIES * p))
            for name, result, p in zip(columns, single, adjusted, strict=True)
        ),
        WindowTest("mmd", "mmd", joint.statistic, joint.p_value, min(1.0, FAMILIES * joint.p_value)),
    ]


def _record(
    window: Window,
    tests: Sequence[WindowTest] | None,
    config: DriftConfig,
    *,
    reference: bool = False,
    note: str | None = None,
) -> dict[str, Any]:
    """What drift.json holds of a window: ``statistic`` is the MMD², ``p_value`` the smallest adjusted one of all."""
    p_value = min(test.p_adjusted for test in tests) if tests else None
    values = window.as_json()
    return {
        **{name: values[name] for name in ("window_id", "start", "end", "rows")},
        "statistic": tests[-1].statistic if tests else None,
        "p_value": p_value,
        "drift": p_value is not None and p_value <= config.alpha,
        "reference": reference,
        "note": note,
        "tests": [vars(test) for test in tests or ()],
    }
