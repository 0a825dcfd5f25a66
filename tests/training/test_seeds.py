import torch

from foretell.training.seeds import seed_generators, step_seed

GOLDEN = 0x9E3779B97F4A7C15
SPLIT_MIX = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
"""first outputs of SplitMix64 from the state 1234567 (Rosetta Code, "Pseudo-random numbers/Splitmix64")"""


def test_steps_are_outputs_of_split_mix() -> None:
    seed = 1234567 * pow(GOLDEN, -2, 2**64)  # its state at step 0 is 1234567
    assert [step_seed(seed, step) for step in range(4)] == [output >> 1 for output in SPLIT_MIX]


def test_neighbouring_seeds_and_steps_do_not_meet() -> None:
    assert len({step_seed(seed, step) for seed in range(100) for step in range(100)}) == 10_000


def test_generators_start_as_torch_starts_them() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    seed_generators(7, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)
