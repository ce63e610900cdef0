"""Great Expectations' Data Docs as pages that need no network: its own rendering of results, in our own frame.

Its page templates load scripts, styles and fonts from six hosts. Here the sections are rendered by Great Expectations,
and page, style and what used to need a script are replaced: collapsed parts are HTML's own ``details``.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.stream.suites import SuiteRun, number_of, plain

if TYPE_CHECKING:
    from jinja2 import Environment

EXAMPLES = 20  # unexpected values shown for each expectation

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2, h5 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
table { border-collapse: collapse; margin: .5rem 0; } td, th { border: 1px solid var(--line); padding: .3rem .6rem;
text-align: left; vertical-align: top; } .table { width: 100%; } th { background: #8881; }
.badge, code { font: .9em ui-monospace, monospace; background: #8882; border-radius: .25rem; padding: 0 .3em; }
.good, .text-success { color: var(--good); } .bad, .text-danger { color: var(--bad); } .text-warning { color: #9a6700; }
.fa-check-circle::before { content: "✓ holds"; } .fa-times::before { content: "✗ fails"; }
.fa-exclamation-triangle::before { content: "! broken"; } i { font-style: normal; white-space: nowrap; }
pre { white-space: pre-wrap; } summary { cursor: pointer; } td table { font-size: .9em; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style | safe }}</style></head><body>
{% block body %}<p><a href="index.html">All suites</a></p><h1>{{ title }}</h1>
{% for section in sections %}{% set section_loop = loop %}{% include "section.j2" %}{% endfor %}{% endblock %}
</body></html>
"""

INDEX = """{% extends "evergreen_page.html" %}{% block body %}<h1>{{ title }}</h1>
<p class="{{ 'good' if passed else 'bad' }}"><strong>{{ "Passed" if passed else "Stopped" }}</strong></p>
<table>{% for name, value in facts.items() %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}</table>
{% if failed %}<h2>Failed</h2><ul>{% for line in failed %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
<h2>Suites</h2><table class="table"><tr><th>suite</th><th>guards against</th><th>column</th><th>level</th>
<th>status</th><th>unexpected</th><th>limit</th></tr>
{% for run in runs %}{% for outcome in run.outcomes %}<tr>
<td><a href="suite-{{ run.name }}.html">{{ run.name }}</a></td><td>{{ outcome.check }}</td>
<td>{{ outcome.column or "" }}</td><td>{{ outcome.level }}</td><td class="{{ 'good' if outcome.success else 'bad' }}">
{{ "holds" if outcome.success else "broken" if outcome.broken else "fails" }}</td>
<td>{% if outcome.unexpected_count is not none %}{{ outcome.unexpected_count }}{% endif %}</td>
<td>{% if outcome.limit is not none %}{{ "%.4g" | format(100 * outcome.limit) }} %{% endif %}</td>
</tr>{% endfor %}{% endfor %}</table>{% endblock %}
"""

COLLAPSE = """<details><summary>{{ content_block.get("collapse_toggle_link", "more") | render_content_block }}</summary>
{% for block in content_block["collapse"] %}{{ block | render_content_block }}{% endfor %}</details>
"""


def write_data_docs(
    folder: Path, title: str, runs: Sequence[SuiteRun], facts: Mapping[str, object], failed: Sequence[str]
) -> None:
    """Write ``index.html`` and a page for each suite into an existing folder: same results, same bytes.

    Args:
        folder: where to.
        title: of the overview.
        runs: the suites' results.
        facts: shown at the top of the overview, by name.
        failed: what stopped the run, a line each; empty if it passed.
    """
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    view = DefaultJinjaPageView()
    _replace_templates(view.env)
    for run in runs:
        document = ValidationResultsPageRenderer(run_info_at_end=False).render(_shown(run))
        sections = [section.to_json_dict() for section in document.sections[1:]]  # the first one holds times and links
        page = view.env.get_template("evergreen_page.html")
        text = page.render(title=f"{title}: {run.name}", style=STYLE, sections=sections)
        (folder / f"suite-{run.name}.html").write_text(text)
    index = view.env.get_template("evergreen_index.html")
    overview = index.render(title=title, style=STYLE, passed=not failed, runs=runs, facts=facts, failed=failed)
    (folder / "index.html").write_text(overview)


def _replace_templates(environment: "Environment") -> None:
    from jinja2 import ChoiceLoader, DictLoader

    assert environment.loader is not None
    own = DictLoader({"evergreen_page.html": PAGE, "evergreen_index.html": INDEX, "collapse.j2": COLLAPSE})
    environment.loader = ChoiceLoader([own, environment.loader])


def _shown(run: SuiteRun) -> Any:
    """A copy of the result for rendering: short, without the time of the run, and safe to put into a page.

    Great Expectations escapes what a suite says but not what the data say, so that a class named like a tag would be
    one. It also stumbles over numpy's numbers.
    """
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

    results = []
    for single in run.result.results:
        found = {
            name: value
            for name, value in single.result.items()
            if name not in ("unexpected_list", "unexpected_index_list", "unexpected_index_query")
        }
        for name in ("partial_unexpected_list", "partial_unexpected_counts", "partial_unexpected_index_list"):
            if name in found:
                found[name] = found[name][:EXAMPLES]
        results.append(
            ExpectationValidationResult(
                success=single.success,
                expectation_config=single.expectation_config,
                result=_escaped(plain(found)),
                exception_info=single.exception_info,
            )
        )
    results.sort(key=number_of)
    return ExpectationSuiteValidationResult(
        success=bool(run.result.success),
        results=results,
        suite_name=run.name,
        statistics=run.result.statistics,
        meta={},
    )


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _escaped(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return html.escape(value) if isinstance(value, str) else value
