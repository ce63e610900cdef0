"""All versions of the churn model of a run, for explanations: one file of weights, one of descriptions."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from evergreen.errors import BadInputError
from evergreen.files import read_json, sha256_file, write_atomically, write_json
from evergreen.retail.bundle import ChurnModel
from evergreen.retail.explain import Answer
from evergreen.retail.features import Encoder
from evergreen.retail.model import Linear, Network, NetworkConfig

FOLDER, WEIGHTS, CONFIG = "versions", "versions.safetensors", "versions.json"


def save_versions(models: Path, versions: Mapping[int, ChurnModel]) -> None:
    """Write the versions into the folder ``versions`` below ``models``, replacing what was there.

    Args:
        models: folder of the run's models.
        versions: by number, at least one; all of one shape and with one encoder.
    """
    tensors = {}
    for number, model in versions.items():
        for name, value in model.network.state_dict().items():
            tensors[f"{number}.network.{name}"] = value.contiguous()
        tensors[f"{number}.linear"] = torch.from_numpy(np.array(model.linear.weights, np.float64))
    any_model = next(iter(versions.values()))
    numbers = {str(n): {"share": m.share, "threshold": m.threshold} for n, m in versions.items()}

    def fill(folder: Path) -> None:
        folder.mkdir(parents=True)
        save_file(tensors, folder / WEIGHTS)
        description = {
            "weights_sha256": sha256_file(folder / WEIGHTS),
            "encoder": any_model.encoder.to_json(),
            "network": any_model.network.config.model_dump(),
            "versions": numbers,
        }
        write_json(folder / CONFIG, description)

    write_atomically(models / FOLDER, fill)


def load_versions(models: Path) -> dict[int, Answer]:
    """The versions as functions from features (n, 3k) to probabilities (n,); empty if none were kept.

    Raises:
        BadInputError: the weights are not those described.
    """
    folder = models / FOLDER
    if not (folder / CONFIG).is_file():
        return {}
    description, found = read_json(folder / CONFIG), sha256_file(folder / WEIGHTS)
    if description["weights_sha256"] != found:
        raise BadInputError(f"{folder / WEIGHTS} has SHA-256 {found}, expected {description['weights_sha256']}.")
    tensors = load_file(folder / WEIGHTS)
    encoder = Encoder.from_json(description["encoder"])
    config = NetworkConfig.read(description["network"], f"{folder / CONFIG}: network")
    loaded: dict[int, Answer] = {}
    for number, numbers in description["versions"].items():
        network, prefix = Network(encoder.width, config, seed=0), f"{number}.network."
        network.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        linear = Linear(tensors[f"{number}.linear"].numpy())
        model = ChurnModel(encoder, network.eval(), linear, float(numbers["share"]), float(numbers["threshold"]))
        loaded[int(number)] = model.probabilities
    return loaded
