"""Distillation of a fine-tuned teacher into a smaller student on unlabelled images (Chen et al. 2020b, section 2)."""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evergreen.config import Config
from evergreen.images.augment import AugmentConfig, to_float
from evergreen.images.encoders import EncoderConfig, build_encoder
from evergreen.images.mixture import Images
from evergreen.images.training_parts import Network, Student, descend, draw_batches, view
from evergreen.progress import Progress
from evergreen.training.optimisers import OptimiserName, build_optimiser, set_learning_rate
from evergreen.training.precision import Resolved, autocast
from evergreen.training.schedules import warmup_cosine


class DistilConfig(Config):
    """How the student learns.

    Attributes:
        temperature: τ, of teacher and student alike; above 1 the teacher's second thoughts count more.
        augment: the views; teacher and student see the same ones, cut out and mirrored but with their colours, as v2.
    """

    steps: int = Field(gt=0)
    batch_size: int = Field(default=256, ge=2)
    view_size: int = Field(default=24, ge=8)
    temperature: float = Field(default=1.0, gt=0)
    optimiser: OptimiserName = "sgd"
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    warmup_steps: int = Field(default=50, ge=0)
    augment: AugmentConfig = AugmentConfig(jitter_probability=0.0, grey_probability=0.0)


def distillation_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """−Σ_y P_T(y|x; τ) log P_S(y|x; τ), averaged over the images x (Chen et al. 2020b, equation 2).

    Args:
        student: logits (N, classes).
        teacher: logits (N, classes).
        temperature: τ > 0; P(y|x; τ) is the softmax of logits / τ.
    """
    return functional.cross_entropy(student.float() / temperature, (teacher.float() / temperature).softmax(dim=1))


def fresh_student(config: EncoderConfig, classes: int, seed: int) -> Network:
    """A network with fresh weights to teach."""
    torch.manual_seed(seed)
    encoder = build_encoder(config)
    return Network(encoder, nn.Linear(encoder.features, classes))


def distil(
    teacher: Network,
    student: Network,
    images: Images,
    config: DistilConfig,
    seed: int,
    device: torch.device,
    precision: Resolved,
    progress: Progress,
) -> Network:
    """Teach ``student`` to answer as ``teacher`` does; no label is read.

    Args:
        teacher: fine-tuned; left in eval mode, not changed.
        student: from :func:`fresh_student` or pretrained itself; changed and returned in eval mode.
        images: unlabelled.
        config: the recipe.
        seed: of batches and views.
        device: where it runs.
        precision: of the forward passes.
        progress: told of every image.
    """
    torch.manual_seed(seed)
    knows = Student(teacher.encoder, teacher.head).to(device).eval()
    learns = Student(student.encoder, student.head).to(device).train()
    optimiser = build_optimiser(config.optimiser, [learns], config.momentum, config.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    batches = draw_batches(len(images), config.batch_size, generator)
    warmup = min(config.warmup_steps, config.steps // 5)
    for step, rows in zip(range(config.steps), batches, strict=False):
        set_learning_rate(optimiser, warmup_cosine(step, config.steps, config.learning_rate, warmup))
        views = view(to_float(images.take(rows.numpy()).to(device)), config.augment, config.view_size, generator)
        with autocast(precision, device):
            with torch.no_grad():
                target = knows(views)
            answer = learns(views)
        descend(optimiser, distillation_cross_entropy(answer, target, config.temperature))
        progress.advance(len(rows))
    return Network(student.encoder.eval(), student.head.eval())
