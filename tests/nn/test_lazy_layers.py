import torch

from foretell.nn.lazy_layers import LazyLayers, zero_padding


def test_only_layers_that_are_read_are_finished() -> None:
    finished = []

    def finish(layer: torch.Tensor) -> torch.Tensor:
        finished.append(layer)
        return layer + 1

    layers = LazyLayers([torch.full((1,), float(n)) for n in range(4)], finish)
    assert len(layers) == 4
    last_two = layers[2:]
    assert not finished
    assert [layer.item() for layer in last_two] == [3, 4]
    assert layers[-1].item() == 4
    assert len(finished) == 3


def test_padding_becomes_zero() -> None:
    outputs = [torch.ones(2, 3, 4)]
    (layer,) = zero_padding(outputs, torch.tensor([3, 1]))
    assert layer.sum(2).tolist() == [[4, 4, 4], [4, 0, 0]]
    assert zero_padding(outputs, None) is outputs
