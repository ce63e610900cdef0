"""Which failures Prefect tries again; the tasks themselves run in tests/flows."""

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from prefect.states import Failed
from sqlalchemy.exc import OperationalError

from evergreen.errors import BadInputError, StoppedError
from tasks.stage_tasks import may_pass, run_stage
from tasks.stages import InfrastructureError, StageError


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (InfrastructureError("busy"), True),
        (OSError("disk"), True),
        (OperationalError("select", {}, Exception("database is locked")), True),
        (MlflowException("down", error_code=TEMPORARILY_UNAVAILABLE), True),
        (BadInputError("no"), False),
        (StoppedError("too many bad rows"), False),
        (StageError("crashed", 1), False),
        (MlflowException.invalid_parameter_value("no"), False),
        (ValueError("a defect"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error, again):
    assert may_pass(run_stage, None, Failed(data=error)) is again


def test_prefect_keeps_no_results():
    assert run_stage.persist_result is False
    assert run_stage.cache_policy is None or run_stage.cache_policy.compute_key(None, {}, {}) is None
