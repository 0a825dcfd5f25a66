"""Upload of a run to the Hugging Face hub, from where it can be named as `hf:OWNER/NAME`."""

from __future__ import annotations

from typing import Any

from foretell import hub, units
from foretell.api.trained import Trained
from foretell.interop.hugging_face.card import model_card
from foretell.strict_json import read_object
from foretell.tools.measure.audits import kept, lines
from foretell.tools.use.hugging_face import recipe_on_card
from foretell.training.checkpoint import files_of


def push(trained: Trained, name: str, *, public: bool) -> dict[str, Any]:
    """Upload a run with its best and last checkpoints and a model card."""
    files = files_of(trained.run)
    size = sum(file.stat().st_size for file in files.values())
    card = card_of(trained, name).encode()
    address = hub.pushed(name, {**files, "README.md": card}, public=public, message=f"Run {trained.run.path.name}")
    return {"run": str(trained.run.path), "to": name, "files": len(files) + 1, "bytes": size, "commit": address}


def card_of(trained: Trained, name: str) -> str:
    """The README.md of a run."""
    record, recipe = trained.summary(), trained.recipe
    machine = read_object(trained.run.environment_file)
    facts = {
        "foretell": machine["foretell"],
        "parameters": f"{trained.parameters:,}",
        "vocabulary": f"{trained.tokenizer.size:,} ({trained.tokenizer.kind})",
    }
    if record["trained_tokens"]:
        facts["trained on"] = f"{record['trained_tokens']:,} tokens in {units.duration(record['seconds'])}"
    use = "predict" if trained.is_task else "generate" if not recipe.no_likelihood else "features"
    return model_card(
        name=recipe.name or trained.run.path.name,
        kind=recipe.model.kind_name(),
        task=None,
        library="foretell",
        facts=facts,
        measured=record,
        notes=[f"Use it: `foretell {use} {name}`, or `foretell.load({name!r})` in Python."],
        recipe=recipe_on_card(recipe, True),
        trained=True,
        audits=lines(kept(trained.run, trained.facts["step"])),
    )
