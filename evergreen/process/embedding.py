"""Word2Vec vectors of the activities for the network, trained on the prefixes of running cases."""

import numpy as np

from evergreen.process.contexts import Ints
from evergreen.process.stream import EventStream
from evergreen.process.word2vec import Bags, Word2Vec, prefix_bags

EPOCHS = 50


def bags_before(stream: EventStream, rows: Ints, classes: int) -> Bags:
    """Neighbours of activities in the prefixes before some rows, each prefix a sentence.

    Activities beyond the number of classes count as the last one: the network cannot tell them apart either.
    """
    order = np.argsort(stream.case[: int(rows.max()) + 1], kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    last = stream.previous[rows]
    position = stream.position[last].astype(np.int64)
    return prefix_bags(
        np.minimum(stream.activity[order].astype(np.int64), classes - 1), place[last] - position, position + 1
    )


def train_vectors(words: Word2Vec, stream: EventStream, rows: Ints, classes: int) -> float:
    """Go on training, from the prefixes before some rows; new activities get vectors. Returns FLOPs."""
    words.grow(classes)
    return words.train(bags_before(stream, rows, classes), EPOCHS)
