"""Distillation of the workspace's classifier into a smaller network: how much of the teacher does the student keep?"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evergreen.config import Config
from evergreen.errors import BadInputError
from evergreen.files import write_json
from evergreen.images.bundle import CONFIG, Classifier, load, save
from evergreen.images.distil import DistilConfig, distil, fresh_student
from evergreen.images.encoders import forward_flops
from evergreen.images.layout import ImageLayout
from evergreen.images.study_images import StudyImages, open_study, studies_folder, subset
from evergreen.images.training_parts import Network
from evergreen.progress import track
from evergreen.training.precision import best_device, set_threads

TABLE = "distil"
AT_ONCE = 512


class DistilStudyConfig(Config):
    """Who learns, and how.

    Attributes:
        width: of the student's first layer, ResNet-9.
        distil: the recipe.
    """

    width: int = Field(default=16, ge=1)
    distil: DistilConfig = DistilConfig(steps=1_000)


def run(workspace: Path, params: dict[str, Any], config: DistilStudyConfig) -> dict[str, Any]:
    """Distil, write the student's bundle and ``studies/distil.json``, and return the latter.

    Labels of split ``val`` judge both; none is learned from.

    Raises:
        BadInputError: the workspace has no classifier yet.
    """
    set_threads(params["threads"])
    layout, device = ImageLayout(workspace), best_device()
    if not (layout.classifier / CONFIG).is_file():
        raise BadInputError(f"{layout.classifier} holds no classifier to learn from. Run `evergreen run images` first.")
    teacher, study = load(layout.classifier, device=device), open_study(layout)
    small = teacher.encoder_config.model_copy(update={"name": "resnet9", "width": config.width})
    student = fresh_student(small, len(teacher.classes), params["seed"])
    images = subset(study.images, study.rows("train", labelled=False))
    knows = Network(teacher.encoder, teacher.head)
    with track("distil", total=config.distil.steps * config.distil.batch_size, unit="images") as bar:
        taught = distil(knows, student, images, config.distil, params["seed"], device, teacher.precision, bar)
    learned = Classifier(taught.encoder, taught.head, small, teacher.classes, teacher.image_size, teacher.precision)
    said = [_answers(model, study) for model in (teacher, learned)]
    labels = np.array(study.classes)[study.labels[study.rows("val")]]
    result = {
        "config": config.model_dump(mode="json"),
        "images": len(images),
        "teacher_accuracy": float((said[0] == labels).mean()),
        "student_accuracy": float((said[1] == labels).mean()),
        "agreement": float((said[0] == said[1]).mean()),
        "flops_ratio": forward_flops(taught.encoder, teacher.image_size)
        / forward_flops(teacher.encoder, teacher.image_size),
    }
    save(studies_folder(layout) / "student", learned)
    write_json(studies_folder(layout) / f"{TABLE}.json", result)
    return result


def _answers(model: Classifier, study: StudyImages) -> NDArray[np.str_]:
    """Class names for the labelled images of split val."""
    rows, names = study.rows("val"), np.array(model.classes)
    parts = [names[:0]]
    for start in range(0, len(rows), AT_ONCE):
        images = study.images.take(rows[start : start + AT_ONCE]).numpy()
        parts.append(names[model.predict_probabilities(images).argmax(axis=1)])
    return np.concatenate(parts)
