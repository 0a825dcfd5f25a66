"""The mixture of softmaxes: the equation, its rank, its dropout, its memory."""

import torch
from builders import assert_same
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from foretell.nn.heads import MixtureHead, MixtureHeadConfig

VOCABULARY, WIDTH = 40, 3


def built(**settings: object) -> MixtureHead:
    torch.manual_seed(0)
    head = MixtureHeadConfig(components=4, latent=5, **settings).build(WIDTH, VOCABULARY, None).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    return head


def test_the_equation() -> None:
    head, hidden = built(), torch.randn(7, WIDTH, dtype=torch.float64)
    prior = torch.softmax(hidden @ head.prior.weight.t(), 1)  # [N, K]
    total = torch.zeros(7, VOCABULARY, dtype=torch.float64)
    for k in range(4):
        part = slice(5 * k, 5 * k + 5)
        latent = torch.tanh(hidden @ head.latent.weight[part].t() + head.latent.bias[part])
        total += prior[:, k, None] * torch.softmax(latent @ head.weight.t() + head.bias, 1)
    assert_same(head.log_probs(hidden), total.log(), 1e-12)


def test_more_rank_than_one_softmax_can_have() -> None:
    """Log-probabilities of a softmax on WIDTH numbers have rank WIDTH + 1 at most (section 2 of the paper)."""
    log_probs = built().log_probs(torch.randn(60, WIDTH, dtype=torch.float64))
    assert int(torch.linalg.matrix_rank(log_probs, rtol=1e-9)) > 5 + 2


def test_probabilities_that_are_nearly_zero_stay_finite() -> None:
    head = built()
    hidden = 1e3 * torch.randn(5, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        head.weight.mul_(1e3)
    nll = head.nll(hidden, torch.arange(5))
    assert torch.isfinite(nll).all() and nll.max() > 100  # the original's log(p + 1e-8) ends at 18.4


def test_dropout_is_of_the_latent_vectors_in_training_only() -> None:
    head, hidden = built(dropout=0.4), torch.randn(2000, WIDTH, dtype=torch.float64)
    _, whole = head.eval().mixed(hidden)
    log_prior, dropped = head.train().mixed(hidden)
    gone = dropped == 0
    assert abs(float(gone.double().mean()) - 0.4) < 0.01
    assert_same(dropped[~gone], (whole / 0.6)[~gone], 1e-4)
    assert_same(log_prior, head.eval().mixed(hidden)[0])


class Largest(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return result


def test_training_never_holds_all_scores() -> None:
    head, hidden = built(chunk=8 * VOCABULARY), torch.randn(100, WIDTH, dtype=torch.float64)
    with Largest() as largest:
        head.nll(hidden, torch.arange(100) % VOCABULARY).sum().backward()
    assert largest.elements == max(100 * 4 * 5, 8 * VOCABULARY) < 100 * VOCABULARY
