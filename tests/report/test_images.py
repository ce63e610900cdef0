import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evergreen.errors import BadInputError
from evergreen.files import read_json, write_json
from evergreen.report import images
from evergreen.report.images import ReportConfig, map_images
from evergreen.report.inputs import read_inputs
from tests.report.html_page import Page, assert_sound

pytestmark = pytest.mark.filterwarnings("error::UserWarning")  # matplotlib: a drawing that has no room

DOCS = "validation/docs/index.html"


def render(run: Any) -> str:
    images.run(run.layout.workspace, run.build())
    return run.layout.report.read_text()


@pytest.fixture(scope="module")
def html(finished: Any) -> str:
    return finished.layout.report.read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_is_sound_and_has_all_its_drawings(html: str) -> None:
    page = assert_sound(html, DOCS)
    assert page.all("img")
    assert len(page.all("svg")) == 9  # timeline, tests, labels, four curves, two maps


def test_the_numbers_are_those_of_the_files(page: Page, finished: Any) -> None:
    inputs = read_inputs(finished.layout, finished.params)
    best = inputs.finetune[0]
    gain = 100 * (best["accuracy"] - best["supervised_accuracy"])
    text = page.text
    assert f"{100 * best['accuracy']:.1f}\u202f%" in text
    assert f"{abs(gain):.1f} points {'above' if gain >= 0 else 'below'}" in text
    assert "61.0\u202f%" in text  # linear probe
    assert "243 images read = 240 accepted + 3 quarantined" in text
    assert "24 labels are known to the models. 192 more exist but are hidden" in text
    assert "Drift was first reported for 2026-01-07, the day on which the noise starts." in text
    for name in ("truncated", "animated", "near-constant"):
        assert name in text
    codes = {window.content_hash[:12] for window in inputs.windows}
    assert all(code in text for code in codes)
    for value in (inputs.validation["hash"], inputs.pretrain["weights_sha256"], inputs.params["champion"]):
        assert value in text.replace(" ", "")


def test_same_inputs_give_the_same_bytes_wherever_and_whenever(
    make_run: Callable[[], Any], html: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    assert render(make_run()) == html


def test_another_input_gives_another_page(make_run: Callable[[], Any], html: str) -> None:
    run = make_run()
    run.params = {**run.params, "seed": 1}
    assert render(run) != html


def test_no_absolute_path_is_on_the_page(make_run: Callable[[], Any]) -> None:
    run = make_run()
    folder = str(run.layout.workspace / "pictures")
    run.params = {**run.params, "ingest": {**run.params["ingest"], "source": "folder", "folder": folder}}
    html = render(run)
    assert str(run.layout.workspace) not in html
    assert "folder: (a folder)" in html


KINDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no labels": ({"labelled": False}, ["No classifier was trained", "No probe: 0 labelled images."]),
    "no label at all": (
        {"labelled": False, "tests": 0, "noise_from": None},
        ["images of the stream", "no label"],
    ),
    "first small run": (
        {"champion": False, "noise_from": None, "days": 1, "training": 1, "refused": {}},
        ["30 images arrived in 1 window", "No window drifted.", "There was no champion."],
    ),
    "odd names, tiny images": (
        {"classes": ["<b>&\"'", "$x$ 100%", "a" * 80], "size": 8},
        ["<b>&\"'", "$x$ 100%", "a" * 80, "Most confident mistakes"],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), KINDS.values(), ids=KINDS.keys())
def test_every_kind_of_run_has_a_page(
    make_run: Callable[[], Any], changes: dict[str, Any], expected: list[str]
) -> None:
    run = make_run()
    for name, value in changes.items():
        setattr(run, name, value)
    page = assert_sound(render(run), DOCS)
    assert [words for words in expected if words not in page.text] == []


def test_a_hundred_classes_get_a_picture_and_a_table(make_run: Callable[[], Any]) -> None:
    run = make_run()
    run.classes = [f"class {number:03d}" for number in range(100)]
    run.tests = 300
    html = render(run)
    page = assert_sound(html, DOCS)
    assert "class 099" in page.text
    assert any("Confusion matrix of 100 classes" in svg["aria-label"] for svg in page.all("svg"))
    assert not re.search(r'<table class="matrix"', html)


def test_a_missing_file_names_its_step(make_run: Callable[[], Any]) -> None:
    run = make_run()
    params = run.build()
    (run.layout.metrics / "drift.json").unlink()
    with pytest.raises(BadInputError, match="drift"):
        images.run(run.layout.workspace, params)
    assert not run.layout.report.exists()


def test_a_classifier_without_a_test_set_has_a_page(make_run: Callable[[], Any]) -> None:
    run = make_run()
    run.tests = 0
    params = run.build()
    gate = read_json(run.layout.metrics / "evaluate.json")
    unmeasured = {"accuracy": None, "macro_f1": None, "per_class_recall": {}, "per_class": []}
    gate |= {"n_gate": 0, "challenger": unmeasured, "champion": unmeasured}
    write_json(run.layout.metrics / "evaluate.json", gate)
    images.run(run.layout.workspace, params)
    text = assert_sound(run.layout.report.read_text(), DOCS).text
    assert "A classifier was trained from 24 labels; no test image measures it." in text
    assert "0 labelled images that no model learned from decide." in text


def test_unknown_parameters_are_refused(make_run: Callable[[], Any]) -> None:
    run = make_run()
    run.params = {**run.params, "report": {"map_pionts": 5}}
    with pytest.raises(BadInputError, match="map_pionts"):
        images.run(run.layout.workspace, run.build())


def test_the_map_mixes_clean_and_noisy_test_images(finished: Any) -> None:
    inputs = read_inputs(finished.layout, finished.params)
    pixels, labels, noisy, source = map_images(inputs, ReportConfig(map_points=40, map_noisy_share=0.25))
    assert (len(pixels), len(labels), int(noisy.sum()), source) == (40, 40, 10, "test images")
    assert set(labels) <= set(finished.classes)
    spread = pixels.reshape(40, -1, 3).astype(float).std(axis=1).mean(axis=1)
    assert spread[noisy].min() > spread[~noisy].max()
    again = map_images(inputs, ReportConfig(map_points=40, map_noisy_share=0.25))
    np.testing.assert_array_equal(pixels, again[0])


def test_augmented_views_differ_from_the_image_and_each_other(finished: Any) -> None:
    inputs = read_inputs(finished.layout, finished.params)
    rows = images.augmentations(inputs, ReportConfig(augmented_images=3, augmented_views=4))
    assert [len(row) for row in rows] == [5, 5, 5]
    assert all(len({picture.source for picture in row}) == 5 for row in rows)
