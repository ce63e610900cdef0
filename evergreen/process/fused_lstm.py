"""An LSTM layer for short sequences and small batches, where torch's own spends its time on bookkeeping.

Forward and backward pass are written out (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000), so
that autograd sees one operation instead of forty.
"""

from typing import Any

import torch


class FusedLstm(torch.autograd.Function):
    """T steps of an LSTM from zero state; what the gates get from the input is given."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, recurrent: torch.Tensor) -> torch.Tensor:
        """The hidden states.

        Args:
            inputs: (T, B, 4H) what input and bias give to the gates: input, forget, output gate, then the candidate.
            recurrent: (H, 4H) weights from the hidden state to the gates.

        Returns:
            (T, B, H)
        """
        steps, batch, width = inputs.shape
        h = width // 4
        gates = inputs.clone()
        cells = inputs.new_zeros(steps + 1, batch, h)
        hidden = inputs.new_zeros(steps + 1, batch, h)
        squashed = inputs.new_empty(steps, batch, h)
        for t in range(steps):
            gate = gates[t]
            if t:
                gate.addmm_(hidden[t], recurrent)
            gate[:, : 3 * h].sigmoid_()
            gate[:, 3 * h :].tanh_()
            let_in, keep, let_out, candidate = gate.split(h, dim=1)
            torch.mul(keep, cells[t], out=cells[t + 1]).addcmul_(let_in, candidate)
            torch.tanh(cells[t + 1], out=squashed[t])
            torch.mul(let_out, squashed[t], out=hidden[t + 1])
        ctx.save_for_backward(gates, cells, hidden, squashed, recurrent)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gates, cells, hidden, squashed, recurrent = ctx.saved_tensors
        steps, batch, width = gates.shape
        h = width // 4
        deltas = torch.empty_like(gates)
        d_cell = gates.new_zeros(batch, h)
        # derivatives of all squashing functions at once: s(1 - s) for the gates, 1 - c² for the candidate
        slopes = torch.cat([gates[..., : 3 * h] * (1 - gates[..., : 3 * h]), 1 - gates[..., 3 * h :] ** 2], dim=2)
        through = gates[..., 2 * h : 3 * h] * (1 - squashed**2)  # (T, B, H) from the hidden state to the cell
        for t in reversed(range(steps)):
            let_in, keep, _, candidate = gates[t].split(h, dim=1)
            d_hidden = grads[0][t]
            if t + 1 < steps:
                d_hidden = torch.addmm(d_hidden, deltas[t + 1], recurrent.T)
            d_cell = torch.addcmul(d_cell, d_hidden, through[t])
            d_in, d_keep, d_out, d_candidate = deltas[t].split(h, dim=1)
            torch.mul(d_cell, candidate, out=d_in)
            torch.mul(d_cell, cells[t], out=d_keep)
            torch.mul(d_hidden, squashed[t], out=d_out)
            torch.mul(d_cell, let_in, out=d_candidate)
            deltas[t].mul_(slopes[t])
            d_cell = d_cell * keep
        d_recurrent = hidden[1:steps].reshape(-1, h).T @ deltas[1:].reshape(-1, width)
        return deltas, d_recurrent
