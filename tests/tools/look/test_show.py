import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import members
from labelled import task_tables, write_labelled
from rich.console import Console

import foretell
from foretell import config
from foretell.config import Config, configs_in
from foretell.data.preparing import prepared
from foretell.data.tokenizers.kinds import CharacterConfig, WordConfig
from foretell.errors import ConfigError
from foretell.recipe.loading import load_recipe, read_tree, recipe_folder, recipe_names
from foretell.recipe.recipe import LearntChoice, Recipe
from foretell.run import Run
from foretell.tasks.task import TaskConfig
from foretell.tools.look.show import describe, readable, render, sections
from foretell.training.checkpoint import save

SMALL = {"model": {"embedding_dim": 8, "hidden": 16, "layers": 2, "output": 8}}
TIED = {"head": {"tied": True}, "data": {"tokenizer": "byte"}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETELL_CACHE", str(tmp_path / "cache"))


def shown(what: dict[str, Any], width: int = 80) -> list[str]:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(render(what))
    return [line.rstrip() for line in capture.get().splitlines()]


def recipe_file(folder: Path, **tables: Any) -> str:
    path = folder / "mine.toml"
    path.write_text(load_recipe(tables).text(), encoding="utf-8")
    return str(path)


def lstm(inputs: int, hidden: int) -> int:
    """Four gates, each with both weights and both biases of the fused kernels."""
    return 4 * hidden * (inputs + hidden + 2)


# Recipes


def test_parameters_of_the_small_zaremba_model_are_those_of_its_formula() -> None:
    result = describe("zaremba-small-ptb", vocabulary=10_000)
    table, layer, head = 10_000 * 200, lstm(200, 200), 10_000 * 201
    assert result["parameters"] == table + 2 * layer + head == 4_653_200
    assert [part["parameters"] for part in result["parts"]] == [table, layer, layer, head]
    # the table is looked up, the biases are added: neither is a matrix product
    forward = 2 * (2 * 4 * 200 * 400 + 10_000 * 200)
    assert result["flops_per_token"] == {"forward": forward, "training": 3 * forward}


def test_a_tied_head_is_counted_once_and_multiplied_by(tmp_path: Path) -> None:
    result = describe(recipe_file(tmp_path, **SMALL, **TIED))
    assert (result["vocabulary"], result["vocabulary_source"]) == (257, "bytes and the boundary")
    parts = {part["part"]: part for part in result["parts"]}
    assert parts["head"] == {"part": "head", "parameters": 257, "shared": 257 * 8}
    assert result["parameters"] == 257 * 8 + lstm(8, 16) + lstm(16, 8) + 257
    assert result["flops_per_token"]["forward"] == 2 * (4 * 16 * 24 + 4 * 8 * 24 + 257 * 8)
    assert any("2,056 shared with the embedding" in line for line in shown(result))


def test_a_learned_start_state_is_a_parameter_but_no_matrix_product(tmp_path: Path) -> None:
    plain = describe(recipe_file(tmp_path, **SMALL), vocabulary=300)
    learned = describe(recipe_file(tmp_path, **SMALL), ["model.cell.learned_state=true"], 300)
    assert learned["parameters"] - plain["parameters"] == 2 * 16 + 2 * 8
    assert learned["flops_per_token"] == plain["flops_per_token"]


TRANSFORMER: dict[str, Any] = {"kind": "transformer", "hidden": 8, "heads": 2, "layers": 3, "context": 32}


def test_attention_and_shared_layers_count_as_often_as_they_are_used(tmp_path: Path) -> None:
    """Each layer 12 x 8^2 weights, and twice 8 x 10 for a token's look at ten; positions are looked up."""
    crops = {"kind": "crops", "length": 10}
    for groups in (3, 1):
        given = recipe_file(tmp_path, model={**TRANSFORMER, "groups": groups}, data={"batches": crops})
        result = describe(given, vocabulary=50)
        assert result["flops_per_token"]["forward"] == 2 * (3 * (12 * 8 * 8 + 2 * 8 * 10) + 50 * 8)
        block = 12 * 8 * 8 + (3 + 1 + 4 + 1) * 8 + 4 * 8  # weights, biases, two norms
        assert result["parameters"] == (50 + 32) * 8 + groups * block + 2 * 8 + 50 * 8 + 50


def test_gpt2_takes_as_many_operations_as_is_known() -> None:
    """6 x 123.65M weights and 12 x 12 x 768 x 1,024: .855 GFLOP."""
    flops = describe("gpt2-124m", vocabulary=50_257)["flops_per_token"]["training"]
    assert flops == 6 * (12 * 12 * 768**2 + 50_257 * 768) + 12 * 12 * 768 * 1024
    assert flops == pytest.approx(0.855e9, rel=1e-3)


def test_hidden_tokens_alone_go_through_the_head(tmp_path: Path) -> None:
    given = recipe_file(
        tmp_path,
        model={**TRANSFORMER, "direction": "both"},
        data={"batches": {"kind": "full", "length": 10}, "tokenizer": {"kind": "wordpiece", "specials": "bert"}},
        objective={"kind": "masked", "masking": {"kind": "token", "rate": 0.25}},
    )
    forward = describe(given, vocabulary=50)["flops_per_token"]["forward"]
    assert forward == 2 * (3 * (12 * 8 * 8 + 2 * 8 * 10) + 0.25 * 50 * 8)


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [({"kind": "sgd"}, 0), ({"kind": "sgd", "momentum": 0.9}, 1), ({"kind": "adamw"}, 2)],
)
def test_memory_of_training_counts_what_the_optimiser_keeps(
    tmp_path: Path, optimizer: dict[str, Any], copies: int
) -> None:
    result = describe(recipe_file(tmp_path, **SMALL, optimizer=optimizer), vocabulary=300)
    memory, weights = result["memory_bytes"], 4 * result["parameters"]
    assert memory["weights"] == memory["gradients"] == weights
    # Adam keeps a step number with each tensor, a few bytes
    assert copies * weights <= memory["optimizer"] <= copies * weights + 4 * 20
    assert memory["total"] == sum(value for key, value in memory.items() if key != "total")


def test_averaging_keeps_one_more_copy(tmp_path: Path) -> None:
    result = describe(recipe_file(tmp_path, **SMALL), ["averaging=nt-asgd"], 300)
    assert result["memory_bytes"]["averages"] == 4 * result["parameters"]


def test_nothing_is_allocated_for_a_huge_model(tmp_path: Path) -> None:
    overrides = ["model.hidden=100000", "model.layers=4"]
    state = torch.get_rng_state()
    result = describe(recipe_file(tmp_path, **SMALL), overrides, 1_000_000)
    assert result["parameters"] > 10**11
    assert torch.equal(state, torch.get_rng_state())


def test_the_toml_shown_is_the_resolved_recipe(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, **SMALL)
    result = describe(path, ["model.cell=gru"])
    assert load_recipe(tomllib.loads(result["toml"])) == load_recipe(path, ["model.cell=gru"])
    assert result["vocabulary"] == 16384 and "at most" in result["vocabulary_source"]


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_described(name: str) -> None:
    result = describe(name, vocabulary=100_000)
    if load_recipe(name).model.kind == "ngram":
        assert "parameters" not in result  # they follow from the text
        return
    assert sum(part["parameters"] for part in result["parts"]) == result["parameters"]
    assert max(map(len, shown(result))) <= 80
    json.dumps(result)


# The vocabulary


def corpus(folder: Path) -> Path:
    (folder / "text").mkdir()
    for split in ("train", "valid", "test"):
        (folder / "text" / f"{split}.txt").write_text("a b c\nd a\n")
    return folder / "text"


def test_words_of_a_small_corpus_are_counted(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, data={"corpus": str(corpus(tmp_path)), "tokenizer": "word"})
    result = describe(path)
    assert (result["vocabulary"], result["vocabulary_source"]) == (6, "counted now")  # <unk>, <eos>
    assert not (tmp_path / "cache").exists()


def test_a_prepared_vocabulary_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(corpus(tmp_path))
    path = recipe_file(tmp_path, data={"corpus": text, "tokenizer": "character"})
    monkeypatch.setattr("foretell.tools.look.show.QUICKLY_COUNTED", 0)
    unknown = describe(path)
    assert unknown["vocabulary"] is None and "unknown until prepared" in unknown["vocabulary_source"]
    assert "parameters" not in unknown
    assert any(re.match(r"vocabulary +\? +unknown", line) for line in shown(unknown))
    store = prepared(text, CharacterConfig())
    result = describe(path)
    assert (result["vocabulary"], result["vocabulary_source"]) == (8, "prepared before")
    again = describe(recipe_file(tmp_path, data={"corpus": str(store.path)}))
    assert (again["vocabulary"], again["vocabulary_source"]) == (8, "the prepared store")


def test_a_corpus_that_is_not_there_leaves_the_vocabulary_unknown(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, data={"corpus": str(tmp_path / "no"), "tokenizer": "word"})
    result = describe(path)
    assert result["vocabulary"] is None and "nearest existing folder" in result["vocabulary_source"]
    shown(result)


# Runs


def test_a_run_is_described_with_its_own_vocabulary_and_its_best_and_last(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe=load_recipe(SMALL).text(), resume=False)
    WordConfig().train(["a b c\n"]).save(run.tokenizer_file)
    run.seal(run.tokenizer_file)
    for step, loss, names in ((2, 2.0, ("last", "best")), (3, 2.5, ("last",))):
        record = {"kind": "valid", "step": step, "epoch": 1.0, "loss": loss}
        run.append(record | {"loss": 0.1})  # these records have no checksum
        pointers = {name: {"step": step, "weights": "raw"} for name in names}
        facts = {"position": {}, "pointers": pointers, "validation": record}
        save(run, step, {"model": {"w": torch.zeros(2)}}, facts)
    run.append({"kind": "train", "stage": "", "step": 4, "epoch": 1.0, "tokens": 8, "seconds": 1.0, "loss": 9.0})
    result = describe(str(run.path))
    assert result["what"] == "run"
    assert (result["vocabulary"], result["vocabulary_source"]) == (5, "the run's tokenizer")
    assert result["best"]["step"] == 2 and result["last"]["step"] == 4
    assert result["checkpoints"] == {name: {"step": s, "weights": "raw"} for name, s in (("best", 2), ("last", 3))}
    assert any(re.match(r"best loss +2\.0000  step 2", line) for line in shown(result))


def test_a_task_is_shown_with_its_labels_and_its_metric(tmp_path: Path) -> None:
    tables = task_tables("classification", "recurrent", write_labelled("classification", tmp_path), limit="2steps")
    run = foretell.train(tables, tmp_path / "run", quiet=True)
    result = describe(str(run.run.path))
    assert result["parameters"] == run.parameters
    assert any(re.match(r"best accuracy +0\.\d{4}  step 2", line) for line in shown(result))


def test_a_model_without_a_loss_per_token_is_shown_with_that_of_its_objective(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe=load_recipe(SMALL).text(), resume=False)
    record = {"kind": "valid", "step": 2, "epoch": 1.0, "loss": None, "objective_loss": 1.5}
    pointers = {name: {"step": 2, "weights": "raw"} for name in ("best", "last")}
    save(run, 2, {}, {"position": {}, "pointers": pointers, "validation": record})
    assert any(re.match(r"best loss +1\.5000  step 2", line) for line in shown(describe(str(run.path))))


# Kinds and sections


def kinds() -> list[tuple[str, type[Config]]]:
    return [(place.key, member) for place in sections() for member in place.members]


def test_sections_are_all_places_of_configs_in_a_recipe() -> None:
    keys = {place.key for place in sections()}
    assert {"model", "model.cell", "head", "data.tokenizer", "objective.penalties"} <= keys
    direct = {name for name, field in Recipe.model_fields.items() if configs_in(field.annotation)}
    assert direct <= keys


# What belongs to tasks, or to models that read from both sides, is valid beside such a one.
EXAMPLES: dict[str, Any] = {"data": {"batches": "examples"}, "objective": "classification"}
ROWS = {
    "data": {"tokenizer": {"kind": "bpe", "specials": "bert"}, "batches": "full"},
    "model": {"kind": "transformer", "direction": "both"},
    "objective": "masked",
}
TASKS = {member.kind_name() for member in members(LearntChoice) if issubclass(member, TaskConfig)}


def beside(tree: dict[str, Any]) -> dict[str, Any]:
    """What an excerpt of a recipe needs to be one, where that is not what a recipe is where nothing is said."""
    data, objective = tree.get("data", {}), tree.get("objective", {})
    named = {part.get("kind") for part in (data.get("batches", {}), objective)}
    if named & {"examples", *TASKS} or "fold" in data:
        return EXAMPLES
    return (
        ROWS if named & {"masked", "replaced", "full", "doc", "segment-pair", "sentence-pair"} or "ramp" in data else {}
    )


@pytest.mark.parametrize(("key", "member"), kinds())
def test_every_kind_is_described_and_its_toml_is_valid(key: str, member: type[Config]) -> None:
    has_kind = "kind" in member.model_fields
    result = describe(f"{key}.{member.kind_name()}" if has_kind else key)
    if result["what"] == "kinds":  # tables of one name that belong to different kinds
        wanted = set(member.model_fields)
        (result,) = [kind for kind in result["kinds"] if {item["name"] for item in kind["fields"]} == wanted]
    assert result["section"] == key and result["text"]
    names = {field["name"] for field in result["fields"]}
    assert names == set(member.model_fields) - {"kind"}
    tree = tomllib.loads(result["toml"])
    assert load_recipe(config.merge(beside(tree), tree))
    for part in key.split("."):
        tree = tree[part]
    mine = tree[0] if isinstance(tree, list) else tree
    assert not has_kind or mine["kind"] == member.kind_name()
    assert max(map(len, shown(result))) <= 80


@pytest.mark.parametrize(
    ("word", "section", "default"),
    [
        ("model", "model", "recurrent"),
        ("cell", "model.cell", "lstm"),
        ("tokenizer", "data.tokenizer", "bpe"),
        ("batches", "data.batches", "streams"),
        ("optimizer", "optimizer", "adamw"),
        ("penalty", "objective.penalties", None),
        ("penalties", "objective.penalties", None),
    ],
)
def test_a_section_lists_its_kinds(word: str, section: str, default: str | None) -> None:
    result = describe(word)
    assert (result["section"], result["default"]) == (section, default)
    lines = shown(result)
    assert all(any(item["kind"] in line for line in lines) for item in result["kinds"])
    assert default is None or any(line.startswith(f"{default} *") for line in lines)


def test_the_settings_of_a_kind_say_type_default_and_meaning() -> None:
    fields = {field["name"]: field for field in describe("bpe")["fields"]}
    assert fields["size"]["type"] == "whole number >= 257"
    assert fields["size"]["default"] == "16384"
    fields = {field["name"]: field for field in describe("cosine")["fields"]}
    assert fields["warmup"]["default"] == "absent"
    assert fields["warmup"]["text"] == "duration of the linear rise from zero"
    fields = {field["name"]: field for field in describe("recurrent")["fields"]}
    assert (fields["cell"]["default"], fields["cell"]["type"][:9]) == ("lstm", "lstm, gru")
    assert {f["name"]: f for f in describe("file")["fields"]}["path"]["default"] == "required"


def test_the_word_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(recipe_file(tmp_path, **SMALL)).rename("lstm")
    assert describe("lstm")["what"] == "kind"
    assert describe("./lstm")["what"] == "recipe"


def test_mistakes_say_what_was_meant() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lstm'"):
        describe("lsmt")
    with pytest.raises(ConfigError, match="did you mean 'zaremba-small-ptb'"):
        describe("zaremba-small-pbt")
    with pytest.raises(ConfigError, match="did you mean 'optimizer'"):
        describe("optimiser")
    with pytest.raises(ConfigError, match="settings do not change it"):
        describe("lstm", ["model.layers=2"])
    with pytest.raises(ConfigError, match="give the number of tokens"):
        describe("zaremba-small-ptb", vocabulary=1)


def test_recipes_are_listed_with_their_first_line() -> None:
    listed = {item["name"]: item["text"] for item in describe("recipes")["recipes"]}
    assert list(listed) == recipe_names()
    assert listed["zaremba-small-ptb"].startswith("The small LSTM of Zaremba")
    assert max(map(len, shown(describe("recipes")))) <= 80


def test_bytes_are_readable() -> None:
    sizes = [0, 1023, 1024, 1536, 3 << 30]
    assert [readable(n) for n in sizes] == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 GiB"]


# The schema


def allows(schema: dict[str, Any], value: Any, whole: dict[str, Any]) -> bool:
    """The part of JSON schema that ours uses, read anew for this test."""
    if "$ref" in schema:
        return allows(whole["$defs"][schema["$ref"].rpartition("/")[2]], value, whole)
    if "anyOf" in schema:
        return any(allows(item, value, whole) for item in schema["anyOf"])
    assert "oneOf" not in schema
    types = {
        **{"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)},
        **{"integer": int, "number": int | float},
    }
    kind = schema.get("type")
    if kind and (not isinstance(value, types[kind]) or (kind != "boolean" and value is True)):
        return False
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return False
    if isinstance(value, list) and "items" in schema:
        return all(allows(schema["items"], item, whole) for item in value)
    if isinstance(value, dict):
        rest, known = schema.get("additionalProperties", True), schema.get("properties", {})
        inner = rest if isinstance(rest, dict) else {}
        return set(schema.get("required", ())) <= set(value) and all(
            allows(known.get(key, inner), item, whole) and (key in known or rest is not False)
            for key, item in value.items()
        )
    return True


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return describe("schema")


@pytest.mark.parametrize("name", recipe_names())
def test_the_schema_allows_the_shipped_recipes_as_written_and_resolved(name: str, schema: dict[str, Any]) -> None:
    path = recipe_folder() / f"{name}.toml"
    assert allows(schema, tomllib.loads(path.read_text(encoding="utf-8")), schema)
    assert allows(schema, read_tree(path), schema)
    assert allows(schema, load_recipe(name).tree(), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": {"hiden": 3}},
        {"model": {"cell": "lsmt"}},
        {"seed": "one"},
        {"limit": 3},
        {"data": {"batches": {"kind": "lines", "jitter": 1.0}}},
    ],
)
def test_the_schema_finds_mistakes(wrong: dict[str, Any], schema: dict[str, Any]) -> None:
    assert not allows(schema, wrong, schema)
    assert allows(schema, {"base": "awd-lstm-tiny.toml", "data": {"batches": {"jitter": 1.0}}}, schema)


def test_types_with_limits_inside_a_choice() -> None:
    fields = {field["name"]: field["type"] for field in describe("training")["fields"]}
    assert fields["micro_batches"] == 'whole number > 0 or "auto"'
    fields = {field["name"]: field["type"] for field in describe("adamw")["fields"]}
    assert fields["betas"] == "[number >= 0, < 1, number >= 0, < 1]"
