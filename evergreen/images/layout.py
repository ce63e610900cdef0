"""Where the image domain keeps its files: one place for every path."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageLayout:
    """The paths below ``<workspace>/data/images``. Steps read and write nothing else."""

    workspace: Path

    @property
    def root(self) -> Path:
        return self.workspace / "data" / "images"

    @property
    def raw(self) -> Path:
        """Arrivals: ``<day>/{images.npy, index.parquet}``. Written by ingest."""
        return self.root / "raw"

    @property
    def hidden_labels(self) -> Path:
        """image_id, label: labels that exist but are not known. Only probe and the label-efficiency study read them."""
        return self.root / "labels" / "hidden.parquet"

    @property
    def gate_labels(self) -> Path:
        """image_id, label of the images of split ``gate``: only the promotion gate reads them."""
        return self.root / "labels" / "gate.parquet"

    @property
    def test(self) -> Path:
        """The test set: ``clean/`` and ``noisy/``, each ``{images.npy, index.parquet}``."""
        return self.root / "test"

    @property
    def quarantine(self) -> Path:
        """``ingest/`` and ``validate/``: what was refused, with the reason."""
        return self.root / "quarantine"

    @property
    def validation(self) -> Path:
        """``result.json``, ``accepted.parquet`` and ``docs/`` (HTML)."""
        return self.root / "validation"

    @property
    def windows(self) -> Path:
        """``<window_id>/{images.npy, index.parquet, window.json}``."""
        return self.root / "windows"

    @property
    def training_windows(self) -> Path:
        """JSON: the windows that pretraining may use, with their content hashes."""
        return self.root / "training_windows.json"

    @property
    def champion(self) -> Path:
        """The registered champion, exported for the steps; its hash is in params.yaml."""
        return self.root / "champion"

    @property
    def encoder(self) -> Path:
        return self.root / "models" / "encoder"

    @property
    def classifier(self) -> Path:
        return self.root / "models" / "classifier"

    @property
    def adaptation(self) -> Path:
        """``predictions.parquet`` and ``model/``: what following the stream left."""
        return self.root / "adaptation"

    @property
    def backtest(self) -> Path:
        """``backtest.json``, the figure, and the predictions of each policy."""
        return self.root / "backtest"

    @property
    def predictions(self) -> Path:
        """Parquet files of a model's answers on test and gate images."""
        return self.root / "predictions"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    @property
    def plots(self) -> Path:
        return self.root / "plots"

    @property
    def report(self) -> Path:
        return self.root / "report.html"
