from torch import nn

from foretell.nn.flops import macs_per_token


def test_matrices_count_and_tables_do_not() -> None:
    model = nn.Sequential(nn.Embedding(1000, 8), nn.Linear(8, 32), nn.LayerNorm(32), nn.Linear(32, 5))
    assert macs_per_token(model) == 8 * 32 + 32 * 5


def test_nothing_costs_nothing() -> None:
    assert macs_per_token(None) == 0


def test_a_table_tied_to_the_output_is_no_product_of_the_model() -> None:
    """The head counts its own product; the shared table is only looked up here."""
    table, output = nn.Embedding(1000, 8), nn.Linear(8, 1000, bias=False)
    output.weight = table.weight
    assert macs_per_token(nn.Sequential(table, output)) == 0
