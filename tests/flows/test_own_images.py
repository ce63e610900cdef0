"""The image flow on a folder of one's own: first without a label, then with some, then with one image more."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits


@pytest.mark.slow
def test_own_folder_from_no_labels_to_a_model_that_follows_it(new_place, tmp_path):
    scans = load_digits()
    folder = tmp_path / "mine"
    pictures = [Image.fromarray((scan * 15).astype(np.uint8)).resize((40, 36)) for scan in scans.images[:400]]
    unlabelled = folder / "unlabelled"
    unlabelled.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        picture.save(unlabelled / f"{number:03d}.png")

    place = new_place
    first = place.images("--folder", str(folder))
    assert first.code == 0, first
    assert "No classifier: too few images have a known label." in first.out
    assert "images-work: no version, for want of labels" in first.out

    again = place.images()
    assert again.code == 0
    assert "Nothing new. No classifier" in again.out

    for number in range(300):
        target = folder / "zero or one" if scans.target[number] < 2 else folder / "more"
        target.mkdir(exist_ok=True)
        (unlabelled / f"{number:03d}.png").rename(target / f"{number:03d}.png")
    labelled = place.images()
    assert labelled.code == 0, labelled
    assert "Changed: ingest" in labelled.out
    assert "images-work version 1 is " in labelled.out

    pictures[0].rotate(90).save(unlabelled / "new.png")
    grown = place.images()
    assert grown.code == 0, grown
    assert "images-work version 2 is " in grown.out
