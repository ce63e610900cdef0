"""DARWIN's network against torch's own layers."""

import numpy as np
import pytest
import torch

from evergreen.process.darwin_network import Examples, Hyperparameters, Network, answer, fit
from evergreen.process.fused_lstm import FusedLstm


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(cells: tuple[int, ...] = (7,), dropout: float = 0.3, classes: int = 5, seed: int = 0, **changes) -> Network:
    chosen = Hyperparameters(dimension=6, cells=cells, dropout=dropout, **{"rate": 0.01, "batch": 8, **changes})
    return Network(torch.randn(5, 6, generator=generator(9)), chosen, classes, generator(seed))


def torchs_order(weights: torch.Tensor) -> torch.Tensor:
    """Columns input, forget, output, candidate as torch has them: input, forget, candidate, output; a row a gate."""
    a, b, c, d = weights.T.chunk(4)
    return torch.cat([a, b, d, c])


def torchs(net: Network, windows: torch.Tensor) -> torch.Tensor:
    """The logits of the same weights in torch's LSTM layers."""
    padded = torch.cat([torch.zeros(1, net.vectors.shape[1]), net.vectors])
    hidden = padded[torch.where(windows < len(net.vectors), windows, -1) + 1]
    for inputs, recurrent, bias in zip(net.inputs, net.recurrent, net.bias, strict=True):
        layer = torch.nn.LSTM(inputs.shape[0], recurrent.shape[0], batch_first=True)
        layer.weight_ih_l0.data, layer.weight_hh_l0.data = torchs_order(inputs.data), torchs_order(recurrent.data)
        layer.bias_ih_l0.data = torchs_order(bias.data[None]).flatten()
        layer.bias_hh_l0.data.zero_()
        hidden = layer(hidden)[0]
    return hidden[:, -1] @ net.output + net.output_bias


def random_windows(count: int, below: int = 7) -> torch.Tensor:
    return torch.randint(-1, below, (count, 4), generator=generator(3))


@pytest.mark.parametrize("cells", [(7,), (6, 4), (3, 5, 4)])
def test_the_network_is_what_torchs_layers_make_of_the_same_weights(cells):
    net = network(cells).eval()
    windows = random_windows(40)  # with padding and with activities that have no vector
    torch.testing.assert_close(net(windows), torchs(net, windows))


def test_the_written_out_gradient_is_the_derivative():
    inputs = torch.randn(4, 3, 8, dtype=torch.double, generator=generator(), requires_grad=True)
    recurrent = torch.randn(2, 8, dtype=torch.double, generator=generator(1), requires_grad=True)
    assert torch.autograd.gradcheck(FusedLstm.apply, (inputs, recurrent))
    assert torch.autograd.gradcheck(FusedLstm.apply, (inputs[:1], recurrent))


def test_windows_that_are_the_same_are_one_to_the_first_layer_but_not_to_the_dropout():
    net = network((6, 4), dropout=0.5)
    windows, which = random_windows(3), torch.tensor([0, 2, 2, 1, 2])
    with torch.no_grad():
        places = net.places(windows)
        torch.testing.assert_close(net.eval().logits(places, which), net(windows[which]))
        dropped = net.train().logits(places, which)
    assert not torch.equal(dropped[1], dropped[2])


def test_dropout_keeps_the_mean():
    net = network(dropout=0.4)
    values = net._dropped(torch.ones(100_000))
    assert values.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert float(values.mean()) == pytest.approx(1, abs=0.01)


def test_a_grown_network_says_the_same_of_the_old_classes():
    net = network((6, 4)).eval()
    vectors = torch.cat([net.vectors, torch.randn(2, 6, generator=generator(4))])
    grown = net.grown(vectors, 8).eval()
    windows = random_windows(30, below=5)
    torch.testing.assert_close(grown(windows)[:, :5], net(windows))
    assert grown(windows).shape == (30, 8)
    for mine, theirs in zip(net.parameters(), grown.parameters(), strict=True):
        assert mine.data_ptr() != theirs.data_ptr()


def test_a_network_on_one_hot_vectors_grows_too():
    chosen = Hyperparameters(dimension=16, cells=(5,), dropout=0.0, rate=0.01, batch=8)
    net = Network(torch.eye(4), chosen, 4, generator()).eval()
    grown = net.grown(torch.eye(6), 6).eval()
    windows = random_windows(30, below=4)
    torch.testing.assert_close(grown(windows)[:, :4], net(windows))


def examples(count: int = 60) -> Examples:
    windows = random_windows(12, below=5).numpy()
    window = torch.randint(0, 12, (count,), generator=generator(5)).numpy()
    return Examples(windows, window, np.maximum(windows[window, -1], 0))


def test_training_ends_with_the_weights_of_the_best_epoch():
    net, data = network(rate=0.05), examples()
    trained = fit(net, data, epochs=60)
    held = slice(48, None)  # the last fifth
    with torch.no_grad():
        logits = net(torch.from_numpy(data.windows[data.window[held]]))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.label[held]))
    assert float(loss) == pytest.approx(trained.loss, rel=1e-5)
    assert trained.loss < 0.5


def test_training_stops_when_nothing_is_gained():
    trained = fit(network(rate=1e-12), examples(), epochs=200)
    assert trained.epochs <= 60


def test_training_with_a_single_pair():
    net, data = network(), examples()
    fit(net, Examples(data.windows, data.window[:1], data.label[:1]), epochs=30)
    label, chance = answer(net, data.windows[data.window[:1]])
    assert label[0] == data.label[0]
    assert 0 < chance[0] <= 1


def test_equal_seeds_give_equal_networks():
    def trained(seed: int) -> torch.Tensor:
        net = network((6, 4), seed=seed)
        fit(net, examples(), epochs=3)
        return net.output

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_operations_are_counted_by_hand():
    net = network((7, 3), classes=5)
    layers = 2 * (6 + 7) * 4 * 7 + 2 * (7 + 3) * 4 * 3  # a step: inputs and hidden state to four gates, two layers
    assert net.flops(windows=10, steps=4) == 10 * (4 * layers + 2 * 3 * 5)
