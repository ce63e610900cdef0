"""Errors that a user can mend, told once."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect.states import Failed

from evergreen.errors import EvergreenError

P = ParamSpec("P")
R = TypeVar("R")


def tells_once(body: Callable[P, R]) -> Callable[P, R]:
    """Let a flow end as Failed with the error's own text, where Prefect would add tracebacks and pickle the exception.

    Whoever called the flow still gets the exception.
    """

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return body(*args, **kwargs)
        except EvergreenError as error:
            return Failed(message=str(error), data=error)

    return run
