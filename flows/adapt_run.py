"""One pass of the adaptation flow: the boxes of its diagram that the image flow does not have."""

from typing import Any

from flows.console import say
from flows.image_run import ImageRun
from tasks import adaptation, record

NO_CHAMPION = "There is no champion to follow the stream with. `evergreen run images` makes the first one."


class AdaptRun(ImageRun):
    """A run on a workspace that it holds."""

    def is_up_to_date(self) -> bool:
        """Whether nothing has to be done; if something has, the MLflow run is open afterwards."""
        with self.timed("look for news"):
            stale = adaptation.look_for_windows(self.folder)
        record.close_killed(self.settings, self.workspace)
        if not stale:
            return True
        say(f"Changed: {', '.join(stale)}")
        self.run_id = record.start_run(self.settings, self.workspace)
        return False

    def publish(self) -> dict[str, Any]:
        """Show the record of the windows and put the predictions into the ledger."""
        with self.timed("publish"):
            found = adaptation.publish_adaptation(self.folder, self.run_id)
            kept = adaptation.keep_predictions(self.folder)
        windows = f"{found['drifts']} with drift, {found['harmful']} of them harmful"
        say(f"{windows}; {kept:,} predictions in the ledger")
        return found

    def register_adapted(self) -> str:
        """Make or find the version of the proven challenger."""
        with self.timed("register"):
            return adaptation.register_adapted(self.folder, self.run_id)

    def promote_adapted(self, version: str) -> dict[str, Any]:
        """Let the version take over."""
        with self.timed("promote"):
            return adaptation.promote_adapted(self.folder, version)
