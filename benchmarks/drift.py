"""Drift detectors side by side: on images (`drift_images`) and on event logs (`drift_logs`).

    EVERGREEN_BENCH_DATA=DIR python benchmarks/drift.py --workspace DIR

writes benchmarks/results/drift.json. A part whose data is missing is left out, with a line that says so, and what the
file held of it stays. `--only images` or `--only logs` runs one part.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import drift_images
import drift_logs

from evergreen.files import read_json, write_json
from evergreen.images.bundle import CONFIG
from evergreen.images.layout import ImageLayout

RESULT = Path(__file__).parent / "results" / "drift.json"


def run_images(workspace: Path) -> dict[str, Any] | None:
    """The image part; None where the image pipeline has not run."""
    if not (ImageLayout(workspace).classifier / CONFIG).is_file():
        print(f"images: left out, {workspace} has no classifier; run `evergreen run images` there, or give --workspace")
        return None
    result = drift_images.run(workspace)
    print(drift_images.summary(result))
    return result


def run_logs() -> dict[str, Any] | None:
    """The part of the event logs; None where they are not at hand."""
    if "EVERGREEN_BENCH_DATA" not in os.environ:
        print("logs: left out, EVERGREEN_BENCH_DATA does not name the folder of the benchmark data")
        return None
    result = drift_logs.run()
    print(drift_logs.table(result))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path(__file__).parents[1], help="where the pipeline ran")
    parser.add_argument("--only", choices=("images", "logs"))
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    found = {
        "images": run_images(arguments.workspace) if arguments.only != "logs" else None,
        "logs": run_logs() if arguments.only != "images" else None,
    }
    before = read_json(arguments.output) if arguments.output.is_file() else {}
    merged = before | {name: part for name, part in found.items() if part is not None}
    if merged:
        write_json(arguments.output, merged)


if __name__ == "__main__":
    main()
