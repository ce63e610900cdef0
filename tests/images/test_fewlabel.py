"""Few-label training: batches, targets, equal compute, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evergreen.images.augment import AugmentConfig, to_float
from evergreen.images.encoders import EncoderConfig, build_encoder, forward_flops
from evergreen.images.fewlabel import FinetuneConfig, fine_tune, pseudo_labels
from evergreen.images.imageset import ImageSet
from evergreen.images.linear import Split, accuracy, cross_validate, fit_linear, spread, stratified_folds
from evergreen.images.linear_start import embed, linear_start, start_on_views
from evergreen.images.normalisation import MEASURED, measure_statistics, norms
from evergreen.images.scores import classification_scores
from evergreen.images.supervised import SupervisedConfig, equal_compute_steps, train_supervised
from evergreen.images.training_parts import Labelled, draw_batches, view
from evergreen.progress import Silent
from tests.images.random_images import bright_or_dark

ENCODER = EncoderConfig(width=4)


class Fixed(torch.nn.Module):
    """A teacher that answers with given logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(views)]


@pytest.fixture
def coloured(tmp_path: Path) -> tuple[ImageSet, np.ndarray]:
    """200 noisy images whose class is whether they are dark or bright."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200)
    return ImageSet([bright_or_dark(tmp_path / "w", labels, 32, generator)]), labels


def norm_of(encoder: torch.nn.Module, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance that a batch norm keeps."""
    layer = norms(encoder)[number]
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return layer.running_mean.clone(), layer.running_var.clone()


def labelled_part(images: ImageSet, labels: np.ndarray, count: int) -> Labelled:
    rows = np.arange(count)
    return Labelled(to_float(images.take(rows)), torch.from_numpy(labels[rows]), 2)


def test_batches_visit_every_row_once_a_pass() -> None:
    batches = draw_batches(10, 4, torch.Generator().manual_seed(0))
    rows = torch.cat([next(batches) for _ in range(5)])
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))


def test_more_labels_asked_for_than_there_are() -> None:
    batch = next(draw_batches(3, 8, torch.Generator().manual_seed(0)))
    assert len(batch) == 8
    assert set(batch.tolist()) == {0, 1, 2}


def test_targets_by_hand() -> None:
    logits = torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log()
    prior, guessed = torch.tensor([0.5, 0.5]), torch.tensor([0.8, 0.2])
    targets, running = pseudo_labels(Fixed(logits), torch.zeros(2, 3, 8, 8), prior, guessed, 0.5, "fp32")
    expected_running = 0.99 * guessed + 0.01 * torch.tensor([0.75, 0.25])
    torch.testing.assert_close(running, expected_running)
    for row, answer in zip(targets, ([0.6, 0.4], [0.9, 0.1]), strict=True):
        aligned = [a * p / g for a, p, g in zip(answer, [0.5, 0.5], expected_running.tolist(), strict=True)]
        shares = [a / sum(aligned) for a in aligned]
        squared = [s**2 for s in shares]
        torch.testing.assert_close(row, torch.tensor([s / sum(squared) for s in squared]))


def test_without_sharpening_and_with_fair_guesses_targets_are_the_answers() -> None:
    answers = torch.tensor([[0.3, 0.7], [0.7, 0.3]])
    fair = torch.tensor([0.5, 0.5])
    targets, _ = pseudo_labels(Fixed(answers.log()), torch.zeros(2, 3, 8, 8), fair, fair, 1.0, "fp32")
    torch.testing.assert_close(targets, answers)


def test_equal_compute_counts_passes_times_flops() -> None:
    encoder = build_encoder(ENCODER)
    recipe = FinetuneConfig(steps=10, labelled_batch=4, unlabelled_batch=8, view_size=16)
    forward, passes = forward_flops(encoder, 16), 10 * (3 * 12 + 8) + MEASURED + 4 * 7
    assert recipe.flops(encoder, 32, 7) == forward * passes + MEASURED * forward_flops(encoder, 32)
    rival = SupervisedConfig(batch_size=4)
    assert equal_compute_steps(encoder, 100 * 3 * 4 * forward + 1, rival, 16) == 100


def test_many_labels_are_seen_in_place_of_unlabelled_images_at_no_higher_cost() -> None:
    encoder = build_encoder(ENCODER)
    recipe = FinetuneConfig(steps=100, labelled_batch=32, unlabelled_batch=128, labelled_passes=30)
    assert recipe.for_labels(100) is recipe  # 32 passes each already
    seen = [recipe.for_labels(count) for count in (100, 200, 400, 600, 10_000)]
    assert [each.labelled_batch for each in seen] == [32, 60, 120, 180, 202]
    unlabelled = [each.unlabelled_batch for each in seen]
    assert unlabelled == sorted(unlabelled, reverse=True)
    assert unlabelled[-1] == 0
    for each in seen:
        assert 0.99 * recipe.flops(encoder, 32, 9) <= each.flops(encoder, 32, 9) <= recipe.flops(encoder, 32, 9)
    for each in seen:
        assert each.learning_rate == pytest.approx(recipe.learning_rate * (each.labelled_batch / 32) ** 0.5)
    assert recipe.model_copy(update={"unlabelled_batch": 0}).for_labels(10_000).labelled_batch == 32


def test_linear_start_answers_like_a_classifier_of_standardised_features(
    coloured: tuple[ImageSet, np.ndarray],
) -> None:
    images, labels = coloured
    labelled = labelled_part(images, labels, 60)
    torch.manual_seed(0)
    encoder = build_encoder(ENCODER)
    head = linear_start(encoder, labelled, (0.01,), "fp32")
    with torch.no_grad():
        features = encoder.eval()(labelled.images)
    standard = (features - spread(features)[0]) / spread(features)[1]
    reference = fit_linear(Split(standard, labelled.labels), 2, 0.01, 100)
    torch.testing.assert_close(head(features), reference(standard), atol=2e-3, rtol=1e-3)


def test_the_start_on_views_answers_for_views_through_their_statistics(coloured: tuple[ImageSet, np.ndarray]) -> None:
    images, labels = coloured
    labelled = labelled_part(images, labels, 60)
    plain = AugmentConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=False, jitter_probability=0.0)
    plain = plain.model_copy(update={"grey_probability": 0.0})  # views are the images, made smaller
    torch.manual_seed(0)
    encoder = build_encoder(ENCODER)
    generator = torch.Generator().manual_seed(0)
    head = start_on_views(
        *(encoder, labelled, images), augment=plain, size=16, penalties=(0.01,), precision="fp32", generator=generator
    )
    small = view(labelled.images, plain, 16, torch.Generator())
    reference = build_encoder(ENCODER)
    reference.load_state_dict({n: v for n, v in encoder.state_dict().items() if "running" not in n}, strict=False)
    whole = to_float(images.take(np.arange(200)))

    def furthest(batch: torch.Tensor) -> float:
        """From the statistics of a batch, in its standard deviations."""
        measure_statistics(reference, [batch], "fp32")
        pairs = [(norm_of(encoder, n), norm_of(reference, n)) for n in range(len(norms(encoder)))]
        return max(float(((a - mean).abs() / variance.sqrt()).max()) for (a, _), (mean, variance) in pairs)

    assert furthest(view(whole, plain, 16, torch.Generator())) < 0.05
    assert furthest(whole) > 0.2
    features = embed(encoder, [small], "fp32")
    standard = (features - spread(features)[0]) / spread(features)[1]
    fitted = fit_linear(Split(standard, labelled.labels), 2, 0.01, 100)
    torch.testing.assert_close(head(features), fitted(standard), atol=0.05, rtol=0.05)


def test_the_statistics_of_a_fine_tuned_network_are_those_of_whole_images(
    coloured: tuple[ImageSet, np.ndarray],
) -> None:
    images, labels = coloured
    recipe = FinetuneConfig(steps=2, labelled_batch=8, unlabelled_batch=8, view_size=8, average_decay=0.0)
    network = fine_tune(
        *(build_encoder(ENCODER), labelled_part(images, labels, 20), images, recipe, 0, "fp32", Silent())
    )
    count = len(norms(network.encoder))
    found = [norm_of(network.encoder, n)[0] for n in range(count)]
    whole = to_float(images.take(np.arange(200)))

    def furthest(batch: torch.Tensor) -> float:
        measure_statistics(network.encoder, [batch], "fp32")
        now = [norm_of(network.encoder, n) for n in range(count)]
        return max(float(((a - mean).abs() / var.sqrt()).max()) for a, (mean, var) in zip(found, now, strict=True))

    assert furthest(whole) < 0.05
    assert furthest(view(whole, recipe.strong, 8, torch.Generator())) > 0.2


def test_rows_that_repeat_are_seen_as_often(coloured: tuple[ImageSet, np.ndarray]) -> None:
    """Two images of noise, one of each class: what they teach is how often a class comes."""
    images, _ = coloured
    recipe = FinetuneConfig(steps=40, labelled_batch=16, unlabelled_batch=0, view_size=8, average_decay=0.5)

    def mean_answer(rows: list[int]) -> float:
        torch.manual_seed(0)
        noise = Labelled(torch.rand(2, 3, 32, 32), torch.tensor([0, 1]), 2)
        network = fine_tune(build_encoder(ENCODER), noise, images, recipe, 0, "fp32", Silent(), rows=torch.tensor(rows))
        with torch.no_grad():
            logits = network.head(network.encoder(to_float(images.take(np.arange(200)))))
        return float(logits.softmax(dim=1)[:, 1].mean())

    assert mean_answer([0] + [1] * 15) > mean_answer([0, 1]) > mean_answer([0] * 15 + [1])


def test_fine_tuning_learns_and_repeats_exactly(coloured: tuple[ImageSet, np.ndarray]) -> None:
    images, labels = coloured
    labelled = labelled_part(images, labels, 20)
    recipe = FinetuneConfig(steps=30, labelled_batch=8, unlabelled_batch=8, view_size=16, average_decay=0.5)

    def tuned() -> torch.Tensor:
        torch.manual_seed(3)
        encoder = build_encoder(ENCODER)
        with torch.no_grad():  # fills in the batch-norm statistics that pretraining would leave
            for _ in range(40):
                encoder(labelled.images)
        network = fine_tune(encoder, labelled, images, recipe, 0, "fp32", Silent())
        with torch.no_grad():
            return network.head(network.encoder(to_float(images.take(np.arange(200)))))

    first, second = tuned(), tuned()
    assert torch.equal(first, second)
    assert accuracy(first.argmax(dim=1), torch.from_numpy(labels)) > 0.9


def test_supervised_training_learns(coloured: tuple[ImageSet, np.ndarray]) -> None:
    images, labels = coloured
    recipe = FinetuneConfig(steps=1, view_size=16)
    config = SupervisedConfig(batch_size=16, average_decay=0.5)
    network = train_supervised(
        ENCODER, labelled_part(images, labels, 40), images, 30, 0.05, config, recipe, 0, "fp32", Silent()
    )
    with torch.no_grad():
        answers = network.head(network.encoder(to_float(images.take(np.arange(200))))).argmax(dim=1)
    assert accuracy(answers, torch.from_numpy(labels)) > 0.9


def test_a_short_training_forgets_its_fresh_weights(coloured: tuple[ImageSet, np.ndarray]) -> None:
    """With the recipe's 0.99 two thirds of the averaged weights of forty steps would be those it began with."""
    images, labels = coloured
    labelled, recipe = labelled_part(images, labels, 40), FinetuneConfig(steps=1, view_size=16)
    network = train_supervised(
        ENCODER, labelled, images, 40, 0.05, SupervisedConfig(batch_size=16), recipe, 0, "fp32", Silent()
    )
    with torch.no_grad():
        answers = network.head(network.encoder(to_float(images.take(np.arange(200))))).argmax(dim=1)
    assert accuracy(answers, torch.from_numpy(labels)) > 0.9


def test_linear_classifier_equals_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(150, 5, generator=generator, dtype=torch.float64).float()
    y = (x[:, 0] + 0.5 * torch.randn(150, generator=generator) > 0).long() + (x[:, 1] > 1).long()
    l2 = 0.02
    ours = fit_linear(Split(x, y), 3, l2, 500)
    theirs = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=1000).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(ours(x).softmax(dim=1).numpy(), theirs.predict_proba(x.numpy()), atol=5e-3)


def test_folds_spread_every_class_evenly() -> None:
    labels = np.array([0] * 7 + [1] * 10 + [2] * 3)
    folds = stratified_folds(labels, 5)
    for value in range(3):
        counts = np.bincount(folds[labels == value], minlength=5)
        assert counts.max() - counts.min() <= 1
    overall = np.bincount(folds, minlength=5)
    assert overall.max() - overall.min() <= 1


def test_cross_validation_by_counting_right_answers_ties_to_the_larger_penalty() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 10, generator=generator)
    y = (x[:, 0] + torch.randn(40, generator=generator) > 0).long()
    folds = stratified_folds(y.numpy(), 5)
    right: dict[float, int] = {}
    for l2 in (1e-4, 0.1, 10.0):
        right[l2] = 0
        for row in range(40):
            train = torch.from_numpy(folds != folds[row])
            linear = fit_linear(Split(x[train], y[train]), 2, l2, 100)
            right[l2] += int(linear(x[row : row + 1]).argmax() == y[row])
    best = max(l2 for l2 in right if right[l2] == max(right.values()))
    assert cross_validate(Split(x, y), 2, (1e-4, 0.1, 10.0), 5, 100) == best
    assert cross_validate(Split(x, y), 2, (2.0, 2.0001), 5, 100) == 2.0001


def test_a_feature_that_hardly_varies_does_not_drown_the_rest() -> None:
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    features[:, 2] = 1e-9
    mean, std = spread(features)
    torch.testing.assert_close(std[[0, 1, 3]], features[:, [0, 1, 3]].std(dim=0))
    torch.testing.assert_close(mean, features.mean(dim=0))
    assert 0.05 < std[2] < 0.2


def test_scores_by_counting() -> None:
    labels, predicted = np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 0])
    found = classification_scores(labels, predicted, ["a", "b", "c"])
    assert found["accuracy"] == pytest.approx(3 / 6)
    assert found["confusion"] == [[1, 1, 0], [1, 2, 0], [1, 0, 0]]
    assert [c["precision"] for c in found["per_class"]] == pytest.approx([1 / 3, 2 / 3, 0])
    assert [c["recall"] for c in found["per_class"]] == pytest.approx([1 / 2, 2 / 3, 0])
    f1 = [2 * p * r / (p + r) if p + r else 0 for p, r in [(1 / 3, 1 / 2), (2 / 3, 2 / 3), (0, 0)]]
    assert found["macro_f1"] == pytest.approx(sum(f1) / 3)
