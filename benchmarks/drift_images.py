"""Which detector sees the drifts of images that do harm, and leaves alone those that do none?

The model is the classifier of a workspace that ran the image pipeline on CIFAR-10. Windows of 500 images are drawn:
clean ones; nineteen kinds of corruption in five severities, abrupt, gradual and recurring; other mixes of classes; a
class that the model does not know. What is true of a shift is measured with hidden labels that no detector sees: it is
harmful if the classifier's accuracy falls by 5 points or more, harmless if by less than 1; in between is not scored.

The harm estimate learns from simulated shifts that share no code with the corruptions. What is reported as the default
configuration judges each corruption with a regression that was fitted without the simulated shifts that are related to
it (noise for noise, blur for blur, …): the kind of shift is new to it. The fit with all simulated shifts, which is what
a user has, is reported beside it.

    python benchmarks/drift_images.py --workspace DIR
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from image_episodes import (
    CLEAN_WINDOWS,
    Episode,
    clean_windows,
    corrupted_episodes,
    new_class_episodes,
    prior_episodes,
)
from image_scores import HARMFUL, HARMLESS, Score, error_of
from image_watch import Decide, Watch, detectors
from image_world import CORRUPTED_POOL, SEED, WINDOW, Pool, Rng, World, read_world

from evergreen.files import write_json
from evergreen.progress import track


class Race:
    """All detectors on the same windows: what each did, and what was estimated of the harm.

    Attributes:
        makers: of each detector's decisions.
        rng: draws what the detectors look at.
        scores: by name of the detector.
        estimates: one for each window.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Decide]], rng: Rng) -> None:
        self.makers, self.rng = makers, rng
        self.scores = {name: Score() for name in makers}
        self.estimates: list[dict[str, Any]] = []

    def rest(self, watch: Watch, windows: Iterator[Pool]) -> None:
        """Look at clean windows: every alarm is a false one."""
        deciding = {name: make() for name, make in self.makers.items()}
        with track("windows", total=CLEAN_WINDOWS, unit="clean windows") as progress:
            for window in windows:
                seen = watch.look(window, frozenset(), self.rng)
                for name, decide in deciding.items():
                    self.scores[name].clean += 1
                    self.scores[name].false_alarms += decide(seen)
                expected = seen["harm"].expected_fall
                self.estimates.append({"kind": "clean", "name": "", "fall": 0.0, "expected": expected})
                progress.advance()

    def follow(self, watch: Watch, episodes: Iterator[Episode]) -> None:
        """Look at shifted windows, episode by episode."""
        for episode in episodes:
            seen = [watch.look(window, episode.related, self.rng) for window in episode.windows]
            for name, make in self.makers.items():
                decide = make()
                self.scores[name].see(episode, [decide(window) for window in seen])
            self.estimates.extend(
                {
                    "kind": episode.kind,
                    "name": episode.name,
                    "fall": fall,
                    "expected": window["harm"].expected_fall,
                    "low": window["harm"].low,
                    "high": window["harm"].high,
                    "expected_as_shipped": window["harm_seen"].expected_fall,
                    "by_confidence": window["confidence_fall"],
                }
                for fall, window in zip(episode.falls, seen, strict=True)
            )


def run(workspace: Path, gradual: Sequence[int] = (3, 5), recurring: Sequence[int] = (4,)) -> dict[str, Any]:
    """Run everything; returns what the result file holds."""
    world = read_world(workspace)
    rng = np.random.default_rng([SEED, 1])
    watch = Watch.fit(world, rng)
    race = Race(detectors(watch.alpha), rng)
    race.rest(watch, clean_windows(world, rng))
    race.follow(watch, corrupted_episodes(world, rng, gradual, recurring))
    race.follow(watch, prior_episodes(world, rng))
    for code in range(len(world.classes)):
        race.follow(Watch.fit(world, rng, without=code), new_class_episodes(world, code, rng))
    return {
        "accuracy_of_the_classifier": float(world.clean.right.mean()),
        "window": WINDOW,
        "clean_windows": CLEAN_WINDOWS,
        "clean_images": len(world.clean),
        "corrupted_images": CORRUPTED_POOL,
        "harmful_from": HARMFUL,
        "harmless_below": HARMLESS,
        "detectors": {name: score.as_json() for name, score in race.scores.items()},
        "harm_estimate": error_of(race.estimates),
        "falls": {f"{kind} {severity}": falls(world, kind, severity) for kind, severity in world.corrupted},
        "versions": {name: version(name) for name in ("numpy", "scipy", "torch")}
        | {"python": platform.python_version()},
    }


def falls(world: World, kind: str, severity: int) -> float:
    """The true fall of accuracy under a corruption."""
    return float(world.plain.right.mean() - world.corrupted[kind, severity].right.mean())


def summary(result: Mapping[str, Any]) -> str:
    """The result as a table."""
    lines = [f"{'detector':22} {'false/1000':>10} {'caught':>11} {'left alone':>11} {'delay':>6}"]
    for name, score in result["detectors"].items():
        caught, alone = ("{}/{}".format(*score[key]) for key in ("harmful_caught", "harmless_left_alone"))
        delay = "–" if score["mean_delay_windows"] is None else f"{score['mean_delay_windows']:.2f}"
        false = score["false_alarms_per_1000_clean_windows"]
        lines.append(f"{name:22} {false:10.1f} {caught:>11} {alone:>11} {delay:>6}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path(__file__).parents[1], help="where the pipeline ran")
    parser.add_argument("--output", type=Path, help="file for the whole result; `drift.py` keeps it in drift.json")
    arguments = parser.parse_args()
    started = time.process_time()
    result = run(arguments.workspace)
    if arguments.output:
        write_json(arguments.output, result)
    print(summary(result))
    print(f"{time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    main()
