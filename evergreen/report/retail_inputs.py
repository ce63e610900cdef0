"""What the report of the retail domain reads: the files of the earlier steps, those that are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evergreen.report.retail_ledger import Tally, read_tallies
from evergreen.report.run_files import read_if_there, read_needed
from evergreen.retail import explanation_files
from evergreen.retail.explained_run import Explained

Record = dict[str, Any]


@dataclass(frozen=True)
class RetailInputs:
    """The results of a run.

    Attributes:
        params: of the retail domain.
        ingest: counts and the receipts in figures; None if the step left none, and so for the next ones.
        validation: result.json.
        examples: counts of the examples.
        metrics: metrics.json, whole.
        all_drifts: of all models, each model's in order of time.
        tallies: the ledger in counts, by model.
        explanations: None if nothing was explained.
        evaluate: of the promotion gate.
    """

    params: Mapping[str, Any]
    ingest: Record | None
    validation: Record | None
    examples: Record | None
    metrics: Record
    all_drifts: Sequence[Record]
    tallies: Mapping[str, Tally]
    explanations: Explained | None
    evaluate: Record | None

    @property
    def models(self) -> Mapping[str, Record]:
        """Metrics by name of the model."""
        return self.metrics.get("models", {})  # type: ignore[no-any-return]

    @property
    def main(self) -> str | None:
        """The model that the report is about: Evergreen's, or the best of those that ran."""
        names = [*self.models, *(name for name in self.tallies if name not in self.models)]
        own = [name for name in names if name == "evergreen" or name.startswith("evergreen-")]
        if own or not names:
            return own[0] if own else None
        return max(names, key=lambda name: self.models.get(name, {}).get("macro_f1") or 0.0)

    @property
    def drifts(self) -> Sequence[Record]:
        """Those of the main model."""
        return [drift for drift in self.all_drifts if drift.get("model", self.main) == self.main]


def read_retail_inputs(workspace: Path, params: Mapping[str, Any]) -> RetailInputs:
    """Read what there is; only ``metrics.json`` must be there.

    Raises:
        BadInputError: metrics.json is missing.
    """
    data = workspace / "data" / "retail"
    metrics = read_needed(workspace / "metrics.json", "online", "retail")
    return RetailInputs(
        params=params,
        ingest=read_if_there(data / "metrics" / "ingest.json"),
        validation=read_if_there(data / "validation" / "result.json"),
        examples=read_if_there(data / "metrics" / "examples.json"),
        metrics=metrics,
        all_drifts=read_if_there(workspace / "drifts.json") or [],
        tallies=read_tallies(workspace / "predictions.parquet"),
        explanations=explanation_files.read(workspace / explanation_files.FOLDER),
        evaluate=read_if_there(data / "metrics" / "evaluate.json"),
    )
