"""Measures: what tables show of a record, in which order, and how keys that nobody registered are understood."""

import pytest

from foretell.evaluate.measures import MEASURES, Measure, measure_of, qualities, rows, task_rows, term_losses, terms_of

TEXT = {"run": "runs/a", "loss": 1.5, "bits_per_byte": 2.0, "perplexity": 4.4817, "tokens": 1234, "unknown_rate": 0.01}
TERMS = {"loss": None, "objective_loss": 2.0, "masked_loss": 3.0, "masked_accuracy": 0.25, "masked_targets": 1200}


def test_each_key_is_its_own() -> None:
    assert all(measure.key == key for key, measure in MEASURES.items())


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("loss", 1.5, "1.5000 nats per token"),
        ("perplexity", 1234.567, "1,234.57"),
        ("masked_accuracy", 0.25, "25.00%"),
        ("unknown_rate", 0.0123, "1.230%"),
        ("peak_memory_bytes", 3_141_592, "3.1 MB"),
        ("tokens", 1234, "1,234"),
        ("order_loss", 0.5, "0.5000 nats per target"),
        ("order_accuracy", 0.5, "50.00%"),
        ("matthews", 0.5, "0.5000"),
    ],
)
def test_values_have_their_format_and_unit(key: str, value: float, text: str) -> None:
    assert measure_of(key).text(value) == text


def test_what_follows_from_a_key() -> None:
    assert measure_of("order_loss") == Measure("order_loss", ".4f", "nats per target", better="lower")
    assert measure_of("entity_f1").better == "higher"
    assert measure_of("accuracy") == Measure("accuracy", better="higher")  # of a task, not of a term
    assert [measure_of(key).is_loss for key in ("loss", "order_loss", "accuracy")] == [True, True, False]


def test_rows_are_in_the_order_of_tables() -> None:
    found = dict(rows(TEXT, "quality", "text"))
    assert list(found) == ["bits per byte", "perplexity", "loss", "tokens", "unknown rate"]
    assert dict(rows(TEXT | {"seconds": 1.0}, "cost")) == {"time": "1 s"}


def test_terms_of_an_objective() -> None:
    record = TERMS | {"order_loss": 0.5, "order_accuracy": 0.75, "order_targets": 7}
    found = list(dict(rows(record, "quality", "text")))
    assert found == [
        "masked loss",
        "masked accuracy",
        "masked targets",
        "order loss",
        "order accuracy",
        "order targets",
    ]
    assert terms_of(record) == ["masked", "order"]
    assert term_losses(record) == ["masked_loss", "order_loss"]


def test_costs_and_texts_do_not_measure_a_model() -> None:
    record = TEXT | {"seconds": 1.0, "epoch": 2.0, "accuracy": 0.5, "examples": 3, "metric": "accuracy"}
    assert qualities(record) == {"loss": 1.5, "bits_per_byte": 2.0, "perplexity": 4.4817, "accuracy": 0.5}


def test_rows_of_a_task_leave_out_what_has_another_row() -> None:
    record = {"metric": "accuracy", "accuracy": 0.5, "macro_f1": 0.25, "share": 0.3, "seconds": 1.0, "loss": 0.7}
    assert dict(task_rows(record)) == {"accuracy": "0.5000", "macro f1": "0.2500"}
