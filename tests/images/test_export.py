"""Exported embeddings and models against the encoder that they come from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from evergreen.errors import BadInputError
from evergreen.images.bundle import embed_batches
from evergreen.images.encoders import Encoder, EncoderConfig, build_encoder
from evergreen.images.export import export_embeddings, export_onnx, onnx_difference
from evergreen.images.imageset import ImageSet
from evergreen.images.layout import ImageLayout

SIDE = 8


def trained(config: EncoderConfig) -> Encoder:
    """An encoder whose batch-norm statistics are not those of a fresh one."""
    torch.manual_seed(0)
    encoder = build_encoder(config).train()
    with torch.no_grad():
        encoder(torch.rand(4, 3, 32, 32))
    return encoder


@pytest.fixture
def images(make_stream: Callable[..., ImageLayout]) -> ImageSet:
    layout = make_stream(days=2, rows=7)
    return ImageSet(sorted(layout.raw.iterdir()))


class Counted:
    """Progress that adds up."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def advance(self, count: int = 1, **fields: object) -> None:
        self.steps.append(count)


@pytest.mark.parametrize("batch_size", [4, 512])
def test_embeddings_are_the_encoders_in_the_order_of_the_images(
    images: ImageSet, tmp_path: Path, batch_size: int
) -> None:
    encoder, bar = trained(EncoderConfig(width=4)), Counted()
    path = tmp_path / "out" / "embeddings.parquet"
    export_embeddings(encoder, images, path, 16, "fp32", bar, batch_size, {"weights_sha256": "abc"})
    table = pq.read_table(path)
    assert table.schema.names == ["image_id", "embedding"]
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert table.schema.metadata[b"weights_sha256"] == b"abc"
    assert table["image_id"].to_pylist() == images.index["image_id"].tolist()
    (expected,) = embed_batches(encoder, images.take(np.arange(14)).numpy(), 16, "fp32")
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), expected.numpy(), atol=1e-6)
    assert bar.steps == [batch_size] * (14 // batch_size) + [14 % batch_size]
    assert pq.ParquetFile(path).num_row_groups == len(bar.steps)


def test_an_export_that_fails_leaves_no_file(images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="at least 8×8"):
        export_embeddings(trained(EncoderConfig(width=4)), images, tmp_path / "e.parquet", 4, "fp32", Counted())
    assert not (tmp_path / "e.parquet").exists()


def parity(encoder: Encoder, path: Path, side: int) -> None:
    """Export, then compare in ONNX Runtime with torch, for batches of other sizes than the exporter saw."""
    assert export_onnx(encoder, path, side) < 1e-4
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    model = onnx.load(path)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 7):
        pixels = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            expected = encoder(pixels).numpy()
        (found,) = session.run(["embedding"], {"images": pixels.numpy()})
        assert found.shape == (count, encoder.features)
        np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))


def test_onnx_answers_as_torch_does(tmp_path: Path) -> None:
    parity(
        trained(EncoderConfig(width=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), input_size=16)),
        tmp_path / "m.onnx",
        SIDE,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "side"),
    [
        (EncoderConfig(width=8), 32),
        (EncoderConfig(width=4, input_size=16), 24),
        (EncoderConfig(name="resnet18"), 32),
        (EncoderConfig(name="resnet50", stem="imagenet"), 64),
        (EncoderConfig(name="timm:test_resnet"), 32),
        (EncoderConfig(name="timm:inception_v3", input_size=96), 32),
        (EncoderConfig(name="timm:xception41", input_size=96), 32),
    ],
)
def test_every_kind_of_encoder_can_be_exported(config: EncoderConfig, side: int, tmp_path: Path) -> None:
    parity(trained(config), tmp_path / "model.onnx", side)


def test_a_model_that_answers_differently_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"the old one")
    monkeypatch.setattr(torch.onnx, "export", lambda encoder, args, path, **_: path.write_bytes(b""))
    monkeypatch.setattr("evergreen.images.export.onnx_difference", lambda *_: 0.5)
    with pytest.raises(BadInputError, match=r"differ from torch's by 0\.5"):
        export_onnx(trained(EncoderConfig(width=4)), tmp_path / "model.onnx", SIDE)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_bytes() == b"the old one"


def test_the_difference_is_between_the_two_answers(tmp_path: Path) -> None:
    """A hand-made model that answers with the mean of each channel, against encoders that add to it."""
    node = onnx.helper.make_node("GlobalAveragePool", ["images"], ["pooled"])
    flat = onnx.helper.make_node("Flatten", ["pooled"], ["embedding"])
    shapes = [("images", ["n", 3, SIDE, SIDE]), ("embedding", ["n", 3])]
    image, vector = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes)
    graph = onnx.helper.make_graph([node, flat], "means", [image], [vector])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "m.onnx")

    class Means(torch.nn.Module):
        mean = torch.zeros(1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3)) + self.mean

    encoder = Means()
    assert onnx_difference(encoder, tmp_path / "m.onnx", SIDE) < 1e-6
    encoder.mean = torch.full((1,), 0.25)
    assert onnx_difference(encoder, tmp_path / "m.onnx", SIDE) == pytest.approx(0.25, abs=1e-5)
