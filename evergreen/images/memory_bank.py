"""A queue of past projections as further negatives, for batches too small to hold enough of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from evergreen.images.losses import with_memory


class MemoryBank(nn.Module):
    """The projections of the last ``size`` images, first in, first out.

    As in MoCo (He et al. 2020) the queue runs along with the batches and its entries get no gradient; as in Wu et al.
    (2018) they come from the encoder that is trained: there is no momentum encoder, so an entry is as old as its place
    in the queue. Unlike both, the other images of the batch stay negatives, so an empty queue gives NT-Xent exactly.
    Of each image the first view is kept.

    All of it is buffers, so that a checkpoint holds it, and no operation makes a GPU wait.
    """

    queue: Tensor
    written: Tensor

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("queue", torch.zeros(size, dimension))
        self.register_buffer("written", torch.zeros((), dtype=torch.long))  # entries ever, not only those still here

    def loss(self, z: Tensor, temperature: float) -> Tensor:
        """NT-Xent of z (2N, D) with the queue as further negatives. Does not change the queue."""
        filled = torch.arange(self.size, device=z.device) < self.written
        return with_memory(z, self.queue, filled, temperature)

    @torch.no_grad()
    def remember(self, z: Tensor) -> None:
        """Put the first views of z (2N, D) into the queue in place of the oldest."""
        first = functional.normalize(z.detach().float(), dim=1).chunk(2)[0][-self.size :]
        places = (self.written + torch.arange(len(first), device=z.device)) % self.size
        self.queue.index_copy_(0, places, first)
        self.written += len(first)
