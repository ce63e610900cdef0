"""The motivating example of DARWIN: F of each activity, a static network against models that follow the stream.

    python benchmarks/motivating_example.py

260 traces in which the process changes four times; the published protocol. Prints the table and writes
benchmarks/results/motivating_example.json. Source: Pasquadibisceglie et al. 2023, EAAI 123, section 1.
"""

import argparse
from pathlib import Path
from typing import Any

import pyarrow as pa
from sklearn.metrics import f1_score

from evergreen.files import write_json
from evergreen.process.models import run_model
from evergreen.process.motivating_example import events
from evergreen.process.protocol import RunInput
from evergreen.process.stream import published_stream

RESULT = Path(__file__).parent / "results" / "motivating_example.json"
MODELS = ("static", "darwin", "evergreen")
PUBLISHED = {
    "static": {"B": 1.0, "C": 0.618, "D": 0.447, "E": 0.0, "F": 0.145, "G": 0.0, "_END_": 0.739},
    "darwin": {"B": 1.0, "C": 0.66, "D": 0.691, "E": 0.521, "F": 0.732, "G": 0.512, "_END_": 0.781},
}


def run(trials: int, epochs: int) -> dict[str, Any]:
    stream = published_stream(pa.Table.from_pandas(events(), preserve_index=False))
    names = [name for name in stream.activities if name != "A"]  # nothing is asked before a case begins
    found = {}
    for model in MODELS:
        settings = {} if model == "evergreen" else {"trials": trials, "epochs": epochs}
        output, _ = run_model(model, RunInput(stream, stream.cut, settings=settings))
        codes = [stream.activities.index(name) for name in names]
        scores = f1_score(stream.activity[output.rows], output.predictions, labels=codes, average=None, zero_division=0)
        found[model] = dict(zip(names, (round(float(score), 3) for score in scores), strict=True))
    return {"trials": trials, "epochs": epochs, "f1": found, "published": PUBLISHED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="of the search of static and darwin")
    parser.add_argument("--epochs", type=int, default=200, help="of a training, at most")
    given = parser.parse_args()
    result = run(given.trials, given.epochs)
    names = list(result["published"]["static"])
    print("F per activity".ljust(24), *(name.rjust(6) for name in names))
    for source in ("f1", "published"):
        for model, scores in result[source].items():
            label = f"{model} ({'here' if source == 'f1' else 'published'})"
            print(label.ljust(24), *(f"{scores[name]:6.3f}" for name in names))
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
