"""`evergreen export`: the encoder as ONNX, or what it makes of images as Parquet."""

from pathlib import Path
from typing import Annotated

import typer

from evergreen.errors import BadInputError
from flows.study_cli import Domain, Workdir, check_domain
from tasks.settings import Settings
from tasks.workspace import open_workspace

WHAT = ("onnx", "embeddings")


def export(
    domain: Domain,
    what: Annotated[str, typer.Option(help="onnx: the encoder; embeddings: of all images in the windows, as Parquet.")],
    output: Annotated[Path, typer.Option(help="The file; replaced.")],
    workdir: Workdir = None,
) -> None:
    """Write the encoder as ONNX, compared with torch before it is kept, or the windows' embeddings as Parquet.

    Needs an encoder: run `evergreen run images` first.

    Example: evergreen export images --what onnx --output encoder.onnx
    """
    check_domain(domain)
    if what not in WHAT:
        raise BadInputError(f"--what {what!r} cannot be exported. There are: {', '.join(WHAT)}.")
    if output.is_dir():
        raise BadInputError(f"--output {output} is a folder. Name a file.")
    settings = Settings.load().apply()
    with open_workspace(settings, domain, workdir=workdir) as workspace:
        from evergreen.images.bundle import load_encoder
        from evergreen.images.export import export_embeddings, export_onnx
        from evergreen.images.imageset import all_windows, open_windows
        from evergreen.images.layout import ImageLayout
        from evergreen.progress import track
        from evergreen.training.precision import best_device, set_threads

        set_threads(workspace.section["threads"])
        layout = ImageLayout(workspace.root)
        encoder, description = load_encoder(layout.encoder, "cpu" if what == "onnx" else best_device())
        size = int(description["image_size"])
        if what == "onnx":
            difference = export_onnx(encoder, output, size)
            print(f"{output}: {encoder.name}, at most {difference:.1e} from torch.")
            return
        images = open_windows(layout.windows, all_windows(layout.windows))
        facts = {"weights_sha256": str(description["weights_sha256"])}
        with track("embed", total=len(images), unit="images") as bar:
            export_embeddings(encoder, images, output, size, description["precision"], bar, facts=facts)
        print(f"{output}: {len(images):,} embeddings of {encoder.features} numbers.")
