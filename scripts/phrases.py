#!/usr/bin/env python3
"""Find phrases that read like a translation, in docstrings, comments, messages and pages, and suggest better ones.

scripts/phrases.py            the whole project; fails if there are more than tests/design/known.toml allows
scripts/phrases.py FILE ...   all of them in these files; fails if there are any

Code is skipped, in `backticks` and fenced blocks too.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["*.md", "docs/*.md", "recipes/*.toml", "foretell/**/*.py"]

# Regular expressions in which a blank matches any white space, each with a hint. Those of PHRASES match whole words
# anywhere, those of OPENINGS the start of a docstring, comment or message.
NOUNLESS = "known|meant|said|told|met|left|done|read|stored|written|to be|called|drawn|chosen|no|new|not|there|lost"
FINE = "longer|more|larger|less|different|better|worse|way|such|need|reason|point|guarantee|room|other"
PHRASES = {
    "so many(?! (\\w+ )?(that|as))": "a number by its name: `batch` rows, N tokens, up to n",
    "so (much|long|often)(?! (\\w+ )?(that|as))": "n times; for `seconds`",
    "nobody|somebody|everybody|who(ever|m)": "name who: the caller, the user, another process",
    "told|tell(s|ing)?": "report, print, predict, distinguish, pass",
    "(is|are|was|were|be|been) said|sa(id|y|ys|ying) (of|so|no|nothing)": "predicted for, reported, stated",
    "what there (is|was|are)|what (becomes of|becomes|became|came)": "name the thing",
    f"what (is|are|was|were) ({NOUNLESS})": "a noun: the known words, the rest",
    "(all|that|than) there (is|are|was|were)(?=\\s?[,;.:)]|$)": "all; existing",
    f"(?<!there\\s)(?<!here\\s)(is|are|was|were) no (?!{FINE})[a-z]+": "is not a",
    "(of|for|with|gives?) none": "without any; -100 marks no target",
    "(go|goes|going|gone|went) on(?! \\d)": "continue, resume, keep",
    "anew": "again; newly initialised",
    "behind": "after, at the end of",
    "beside": "next to, in addition to, compared with",
    "one after the other": "in turn, in order, consecutive",
    "stands? (in|between|at|on|behind|first|last|there|alone|apart|around)": "is, appears, lies",
    "(ones|those|tokens|characters|sets|runs|text|split) apart(?! from)": "except",
    "(for|by) (itself|themselves)(?=\\s?[,;.:)]|$)": "independently, on its own",
    "by way of": "through, via",
    "be (it|they) (a|an|the|there|some)[a-z]*": "whether",
    "knows? (no|nothing|neither|of)": "does not depend on, does not support",
    "how right|(right|wrong)ly": "accuracy; correctly",
    "go(es|ing)? by": "is indexed by, sorted by, named by",
    "comes? to be": "is built",
    "written out(?! (to|in) )": "explicit; the per-step path",
    "for people": "human-readable; for a terminal",
    "of like|like (lengths?|ones|sizes?)": "of similar",
    "stretch(es)? of": "span, range, chunk",
    "small letters|(one|two|three) at (least|most)(?! \\d)": "lower case; at least one, at most two",
    "but for|all else": "except; everything else, the rest",
    "do(es)? as well|now and then|lately": "also works; occasionally; recently",
    "mend(s|ed|ing)?": "fix, repair, replace",
    "learnt": "learned",
    "to (its|their) ends?|in the mean(?! of)": "completely; on average",
    "(one|once|twice|lines?|numbers?) an? (row|line|step|second|batch|epoch|token|text|file|stage|layer)": "per",
    "may look at": "can attend to",
    "not there( yet| any more)?": "missing, does not exist",
}
OPENINGS = {
    "The same\\b": "say what it does: 'Like `f`, but ...'",
    "What\\b(?! to )[^?]*$": "a noun ('Sources of text.') or a verb ('Return ...')",
    "(Of|Those|That of|So many|So much)\\b": "a noun or a verb",
    "Why\\b[^?]*$": "'Reason ...'",
    "How (much|right|far) (there|of|they|it)\\b": "'Size of ...', 'Accuracy of ...'",
    "An? `?\\w*Error`? (where|when|if|that)\\b": "'Raise `ConfigError` if ...'",
}


def compiled(phrases: dict[str, str], form: str) -> list[tuple[re.Pattern[str], str]]:
    """Compile each phrase inside `form`."""
    return [(re.compile(form.format(text.replace(" ", r"\s+"))), hint) for text, hint in phrases.items()]


ANYWHERE = compiled(PHRASES, r"\b(?:{})\b")
AT_START = compiled(OPENINGS, r"\s*(?:{})")
ANY = re.compile("|".join(expression.pattern for expression, _ in ANYWHERE))
TEXTS = {
    ".py": re.compile(r'"""(.*?)"""|"((?:\\.|[^"\\\n])*)"|\'((?:\\.|[^\'\\\n])*)\'|#([^\n]*)', re.S),
    ".toml": re.compile(r"#([^\n]*)"),
    ".md": re.compile(r"\A(.*)\Z", re.S),
}
SKIPPED = re.compile(r"^```.*?^```|`[^`\n]*`|\{[^{}\n]*\}|\]\([^)\n]*\)|None", re.S | re.M)


def phrases(text: str, suffix: str) -> Iterator[tuple[int, str, str]]:
    """The line of each phrase in a file's text, the phrase and a hint."""
    for found in TEXTS[suffix].finditer(text):
        start, words = found.start(found.lastindex or 0), found[found.lastindex or 0]
        if " " not in words:
            continue
        plain = SKIPPED.sub(lambda code: re.sub(r"[^\n]", "`", code[0]), words).lower()
        hits = []
        if ANY.search(plain):
            hits = [(match, hint) for expression, hint in ANYWHERE for match in expression.finditer(plain)]
        if suffix == ".py":
            hits += [(match, hint) for expression, hint in AT_START if (match := expression.match(words))]
        for match, hint in sorted(hits, key=lambda hit: hit[0].start()):
            phrase = " ".join(match[0].split())
            yield text.count("\n", 0, start + match.start()) + 1, phrase[:40], hint


def main(names: list[str]) -> int:
    """Print the phrases in these files, or in all; return the exit code."""
    paths = [Path(name).resolve() for name in names] or [path for page in PAGES for path in sorted(ROOT.glob(page))]
    found = [(path, *hit) for path in paths for hit in phrases(path.read_text(encoding="utf-8"), path.suffix)]
    known = tomllib.loads((ROOT / "tests/design/known.toml").read_text(encoding="utf-8")).get("phrases", {})
    allowed = 0 if names else sum(known.values())
    if len(found) > allowed:
        lines = (f"{path.relative_to(ROOT)}:{line}: {phrase} -> {hint}" for path, line, phrase, hint in found)
        print(*lines, f"{len(found)} phrases to rewrite, {allowed} known", sep="\n")
    return len(found) > allowed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
