"""Step `explanations`: why the churn model decided as it did, day by day and version by version, and drift cards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from evergreen.errors import BadInputError
from evergreen.files import read_json
from evergreen.retail.explained_run import ExplanationsConfig, decisions_of, explain_run
from evergreen.retail.explanation_files import FOLDER, write

MODEL = "evergreen"


def run(workspace: Path, params: Mapping[str, Any]) -> None:
    """Explain the decisions of the model `evergreen`; without it, empty files say so.

    Raises:
        BadInputError: a file of an earlier step is missing, or a parameter does not fit.
    """
    import torch

    from evergreen.retail.versions import load_versions

    config = ExplanationsConfig.read(params.get("explanations", {}), "params.yaml: retail.explanations")
    torch.set_num_threads(int(params["threads"]))
    for name in ("examples.parquet", "predictions.parquet", "drifts.json"):
        if not (workspace / name).is_file():
            raise BadInputError(f"{workspace / name} is missing. Run `evergreen step retail online` first.")
    examples = pd.read_parquet(workspace / "examples.parquet")
    ledger = pd.read_parquet(workspace / "predictions.parquet", filters=[("model", "==", MODEL)])
    drifts = [entry for entry in read_json(workspace / "drifts.json") if entry.get("model", MODEL) == MODEL]
    models = load_versions(workspace / "data" / "retail" / "models")
    found = explain_run(decisions_of(examples, ledger), models, drifts, config, int(params["seed"]))
    write(workspace / FOLDER, found)
