"""One pass of the image flow: what it knows beside any domain's flow."""

from evergreen.images.layout import ImageLayout
from flows.domain_run import DomainRun

NO_LABELS = (
    "No classifier: too few images have a known label. Put some of them into sub-folders named after their class, "
    "or, for a benchmark, raise images.ingest.known_fraction in params.yaml; then run again."
)


class ImageRun(DomainRun):
    """A run on a workspace of images."""

    of = "images"

    @property
    def has_classifier(self) -> bool:
        """Whether fine-tuning had labels to make a classifier from."""
        return (ImageLayout(self.workspace.root).classifier / "config.json").is_file()

    @property
    def no_model(self) -> str | None:
        return None if self.has_classifier else NO_LABELS
