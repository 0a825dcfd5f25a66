"""Runs and checkpoints on the Hugging Face hub: `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION`.

A name is fetched once and then read from the cache, without a network. Only files that runs and checkpoints consist of
are fetched: no code, nothing pickled. Runs from there are as little trusted as any from elsewhere (see `trust`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foretell.artifacts import whole_folder
from foretell.cache import cache_folder
from foretell.errors import ConfigError

PREFIX = "hf:"
NAME = re.compile(r"hf:([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w-][\w./-]*))?")
FILES = ("*.toml", "*.json", "*.jsonl", "*.npy", "*.safetensors", "*.txt", "*.model")
"""patterns of the files that are fetched"""

REASONS = {
    "RepositoryNotFoundError": "no such repository, or it is private",
    "RevisionNotFoundError": "no such revision",
    "GatedRepoError": "its owner has to grant access",
}
"""reasons by the exceptions of the library"""


def is_on_hub(name: Path | str) -> bool:
    """Whether a name is one on the hub."""
    return str(name).startswith(PREFIX)


def parsed(name: Path | str) -> tuple[str, str | None]:
    """The repository, as OWNER/NAME, and the revision if one is named."""
    found = NAME.fullmatch(str(name))
    if found is None:
        raise ConfigError(f"{name}: not a name on the hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    return found[1], found[2]


def local(name: Path | str) -> Path:
    """The folder of a name, fetched from the hub if need be; a path is returned as it is."""
    return fetched(name) if is_on_hub(name) else Path(name).expanduser()


def fetched(name: Path | str) -> Path:
    """The folder of the cache with the files of a repository, fetched when first named."""
    repository, revision = parsed(name)
    place = cache_folder() / "hub" / f"{repository}@{revision or 'main'}".replace("/", "--")
    if place.is_dir():
        return place
    library = hub_library(name)
    try:
        with whole_folder(place) as draft:
            library.snapshot_download(repository, revision=revision, local_dir=draft, allow_patterns=list(FILES))
            shutil.rmtree(draft / ".cache", ignore_errors=True)  # the library's own records
            if not any(draft.iterdir()):
                raise ConfigError(f"{name}: holds no files of a run or a checkpoint; name another repository")
    except FileExistsError:  # another process was faster
        return place
    except ConfigError:
        raise
    except Exception as problem:  # of the library, or of any that it uses
        raise refused(name, "fetched", problem) from None
    return place


def pushed(name: Path | str, files: Mapping[str, Path | bytes], *, public: bool, message: str) -> str:
    """Upload files as one commit, and return its address. Checkpoints that are no longer among them are deleted.

    A repository that does not exist is made, private unless `public`; one that exists keeps who may read it.
    """
    repository, revision = parsed(name)
    library = hub_library(name)
    try:
        api = library.HfApi()
        api.create_repo(repository, private=not public, exist_ok=True)
        known = api.list_repo_files(repository, revision=revision)
        old = [library.CommitOperationDelete(file) for file in known if file.startswith("checkpoints/")]
        old = [operation for operation in old if operation.path_in_repo not in files]
        contents = {file: content if isinstance(content, bytes) else str(content) for file, content in files.items()}
        new = [library.CommitOperationAdd(file, content) for file, content in contents.items()]
        done = api.create_commit(repository, [*new, *old], commit_message=message, revision=revision)
    except Exception as problem:  # of the library, or of any that it uses
        raise refused(name, "uploaded", problem) from None
    return str(done.commit_url)


def refused(name: Path | str, done: str, problem: Exception) -> ConfigError:
    """The error for a request that failed."""
    kind = type(problem).__name__
    first = next((line.strip().rstrip(".") for line in str(problem).splitlines() if line.strip()), kind)
    return ConfigError(
        f"{name}: cannot be {done}: {REASONS.get(kind, first)}; be online, and log in with `hf auth login` if it is "
        "private"
    )


def hub_library(name: Path | str) -> Any:
    """The library of the hub."""
    try:
        import huggingface_hub
    except ImportError:
        raise ConfigError(f"{name}: to use models on the Hugging Face hub, pip install 'foretell[hf]'") from None
    return huggingface_hub
