"""One DVC stage in a process of its own: ``python -P -m tasks.repro STAGE``, with the workspace as working directory.

The same as ``dvc repro --single-item STAGE``, but DVC's own error goes into the status file where the step left none,
instead of being printed on top of it, and the whole session ends when the run that started it does.
"""

import logging
import sys

from tasks.process import end_session_with_parent
from tasks.status import StepStatus


def main(stage: str) -> int:
    """Reproduce a stage; 0, or the exit status of what failed, with the message in the status file."""
    end_session_with_parent()

    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)  # the run says itself which stage it is at
    try:
        with Repo() as repo:
            repo.reproduce(stage, single_item=True)
    except (DvcException, OSError) as error:
        status = StepStatus.read()
        if status is None or status.code == 0:
            busy = any(isinstance(link, LockError) for link in _chain(error))
            StepStatus(code=1, message="DVC: " + ": ".join(str(link) for link in _chain(error)), busy=busy).write()
            return 1
        return status.code
    return 0


def _chain(error: BaseException) -> list[BaseException]:
    links = [error]
    while links[-1].__cause__ is not None:
        links.append(links[-1].__cause__)
    return links


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
