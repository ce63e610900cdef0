import doctest
from types import ModuleType

import jinja2
import pytest

from evergreen.report import figures, page, parameters, standings


@pytest.mark.parametrize("module", [page, parameters, figures, standings], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_are_true(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_a_missing_name_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        page.render("images.html", {})
