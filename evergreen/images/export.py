"""What leaves the house: embeddings of images as Parquet, an encoder as ONNX."""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from evergreen.errors import BadInputError
from evergreen.files import remove, write_atomically
from evergreen.images.bundle import embed_batches
from evergreen.images.encoders import Encoder
from evergreen.images.imageset import ImageSet
from evergreen.progress import Progress
from evergreen.training.precision import Resolved

IMAGES, EMBEDDING = "images", "embedding"
TOLERANCE = 1e-4
"""How far ONNX Runtime's embeddings may be from torch's, relative to their largest value where that is above 1."""


def export_embeddings(
    encoder: Encoder,
    images: ImageSet,
    path: Path,
    image_size: int,
    precision: Resolved,
    progress: Progress,
    batch_size: int = 512,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write the embeddings of images as Parquet: image_id (string), embedding (list of float32, one length for all).

    Only a batch is in memory at a time. The file is whole or absent.

    Args:
        encoder: left in eval mode, otherwise unchanged.
        images: the rows of the file, in their order.
        path: the file; replaced.
        image_size: images of another size are resized to this side.
        precision: of the forward pass.
        progress: told of every image.
        batch_size: images at a time; also the rows of a row group.
        facts: kept in the file's schema, e.g. ``{"weights_sha256": …}``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("image_id", pa.string()), ("embedding", pa.list_(pa.float32()))], metadata=dict(facts or {}))
    ids = images.index["image_id"].to_numpy()

    def write(part: Path) -> None:
        with pq.ParquetWriter(part, schema) as writer:
            for start in range(0, len(images), batch_size):
                rows = np.arange(start, min(start + batch_size, len(images)))
                (features,) = embed_batches(encoder, images.take(rows).numpy(), image_size, precision, batch_size)
                writer.write_table(pa.table([pa.array(ids[rows], pa.string()), lists(features.cpu().numpy())], schema))
                progress.advance(len(rows))

    write_atomically(path, write)


def lists(features: NDArray[np.float32]) -> "pyarrow.ListArray":  # type: ignore[name-defined]  # noqa: F821
    """Rows of a matrix as Arrow lists."""
    import pyarrow as pa

    count, width = features.shape
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, pa.array(features.reshape(-1)))


def export_onnx(encoder: Encoder, path: Path, image_size: int) -> float:
    """Write an encoder as ONNX and compare it with torch in ONNX Runtime before it is put in place.

    The model takes ``images``, float32 (batch, 3, image_size, image_size) in [0, 1] with any batch size, normalises
    them itself and returns ``embedding``, float32 (batch, features).

    Args:
        encoder: on any device; left in eval mode.
        path: the file; replaced.
        image_size: side of the images.

    Returns:
        The largest difference of a value between the two.

    Raises:
        BadInputError: they differ by more than 1e-4, or the network has a part that cannot be exported.
    """
    encoder.eval()
    shape = (2, 3, image_size, image_size)
    example = torch.zeros(shape, device=encoder.mean.device)
    part = path.with_name(f".{path.name}.unchecked")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the exporter prints what it does
            torch.onnx.export(
                encoder,
                (example,),
                part,
                input_names=[IMAGES],
                output_names=[EMBEDDING],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )
        difference = onnx_difference(encoder, part, image_size)
        if not difference <= TOLERANCE:
            raise BadInputError(
                f"The ONNX model's embeddings differ from torch's by {difference:.2g}, more than {TOLERANCE:g}. "
                "It is not kept. On a GPU, whose fp32 may be shortened, export on the processor instead."
            )
        part.replace(path)
    except torch.onnx.errors.OnnxExporterError as error:
        raise BadInputError(f"{encoder.name} cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    finally:
        remove(part)
    return difference


def onnx_difference(encoder: Encoder, path: Path, image_size: int, batches: tuple[int, ...] = (1, 3)) -> float:
    """The largest difference between the embeddings of torch (fp32) and of ONNX Runtime on random images.

    It is relative to the largest value where that is above 1. Several batch sizes are tried: a model that was exported
    for one only fails here.
    """
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for count in batches:
        images = torch.rand((count, 3, image_size, image_size), generator=generator)
        with torch.no_grad():
            expected = encoder(images.to(encoder.mean.device)).cpu()
        (found,) = session.run([EMBEDDING], {IMAGES: images.numpy()})
        apart = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max().clamp(min=1)
        worst = max(worst, float(apart))
    return worst
