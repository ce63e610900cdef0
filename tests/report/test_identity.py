import re
from collections.abc import Callable
from typing import Any

from evergreen.report.identity import identify
from evergreen.report.inputs import read_inputs
from evergreen.report.parameters import without_places


def test_identity_has_the_weights_the_data_and_the_software(finished: Any) -> None:
    inputs = read_inputs(finished.layout, finished.params)
    identity = identify(inputs)
    assert identity.groups["Weights (SHA-256)"]["encoder"] == inputs.pretrain["weights_sha256"]
    assert identity.groups["Weights (SHA-256)"]["champion compared with"] == finished.params["champion"]
    assert identity.groups["Data (SHA-256)"]["validation result"] == inputs.validation["hash"]
    assert re.match(r"\d+\.\d+", identity.groups["Software"]["torch"])
    assert re.fullmatch("[0-9a-f]{64}", identity.fingerprint)


def test_the_same_run_elsewhere_has_the_same_identity(finished: Any, make_run: Callable[[], Any]) -> None:
    run = make_run()
    run.build()
    here = identify(read_inputs(finished.layout, finished.params))
    assert identify(read_inputs(run.layout, run.params)) == here


def test_another_parameter_changes_the_fingerprint(finished: Any) -> None:
    here = identify(read_inputs(finished.layout, finished.params)).fingerprint
    other = {**finished.params, "pretrain": {**finished.params["pretrain"], "epochs": 99}}
    assert identify(read_inputs(finished.layout, other)).fingerprint != here


def test_places_are_taken_out_at_any_depth() -> None:
    params = {"a": "/home/me/x", "b": [{"c": "C:\\pictures", "d": "a/b", "e": 1}], "f": None}
    assert without_places(params) == {"a": "(a folder)", "b": [{"c": "(a folder)", "d": "a/b", "e": 1}], "f": None}
