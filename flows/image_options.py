"""The options that name a workspace of images."""

from pathlib import Path
from typing import Annotated

import typer

Profile = Annotated[
    str | None,
    typer.Option(help="Parameters to write into the workspace: smoke, laptop, hour, gpu.", show_default=False),
]
Workdir = Annotated[
    Path | None,
    typer.Option(help="The workspace. Default: this checkout; for another profile than laptop one in .evergreen."),
]
