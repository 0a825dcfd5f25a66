"""A small ARPA file, all the forms it may have, and what it says."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foretell.interop import arpa
from foretell.models.ngram import NGram

PLAIN = """\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-99\t<s>\t-0.5
-0.7\t</s>
-0.5\tdog\t-0.3
-0.9\tcat\t-0.2
-1.5\t<unk>\t-0.9

\\2-grams:
-0.2\t<s> dog\t-0.1
-0.4\tdog cat\t-0.25
-0.6\tcat </s>

\\3-grams:
-0.05\t<s> dog cat

\\end\\
"""
WORDS = ["<unk>", "<eos>", "dog", "cat"]
UNK, EOS, DOG, CAT = range(4)
CMU = """#############################################################
## Copyright (c) 1996, Carnegie Mellon University, Cambridge University,
This is a 3-gram language model, based on a vocabulary of 5 words,
  which begins "<s>", "</s>", "dog"...
Data formats:

Beginning of data mark: \\data\\
ngram 1=nr            # number of 1-grams

\\1-grams:
p_1     wd_1 bo_wt_1

end of data mark: \\end\\

"""


def read(path: Path, text: str | bytes, words: Sequence[str] = WORDS) -> NGram:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return arpa.read_arpa(path, words, EOS)[0]


def log10(model: NGram, *text: int) -> float:
    """log10 p of the last token after the others, which a line begins."""
    padded = np.array([[EOS] * model.order + list(text[:-1])])
    return float(model.logp(padded[:, -model.order :], np.array([text[-1:]]))[0][0, 0]) / math.log(10)


def figures(model: NGram) -> list[float]:
    """What the plain file says by the rules of back-off, without any program; `figures(plain) == EXPECTED`."""
    texts = [(DOG,), (CAT,), (EOS,), (DOG, CAT), (CAT, EOS), (CAT, CAT), (UNK, DOG), (DOG, CAT, EOS), (DOG, DOG)]
    return [log10(model, *text) for text in texts]


EXPECTED = [-0.2, -0.5 - 0.9, -0.5 - 0.7, -0.05, -0.6, -0.2 - 0.9, -0.9 - 0.5, -0.25 - 0.6, -0.1 - 0.3 - 0.5]


def without(text: str, line: str) -> str:
    assert text.count(line) == 1
    return text.replace(line, "")


FORMS = {
    "plain": PLAIN,
    "blanks": PLAIN.replace("\t", " "),
    "columns": PLAIN.replace("\t", "     \t "),
    "some lines by blanks": PLAIN.replace("dog\t-0.3", "dog -0.3").replace("-1.5\t<unk>\t", "-1.5 <unk> "),
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "blanks at the ends": PLAIN.replace("\n", " \t\n"),
    "blanks before": PLAIN.replace("\n", "\n  "),
    "lines of blanks": PLAIN.replace("\n", "\n \t \n"),
    "no empty lines": PLAIN.replace("\n\n", "\n"),
    "no last newline": PLAIN.rstrip("\n"),
    "byte-order mark": "\ufeff" + PLAIN,
    "CMU": CMU + PLAIN.replace("<unk>", "<UNK>").replace("\t", " ").replace("-99", "-99.0000"),
    "exponents": PLAIN.replace("-0.2\t<s>", "-2.0e-1\t<s>").replace("-0.5\tdog", "-.5\tdog"),
    "spaced counts": PLAIN.replace("ngram 1=5", "ngram  1 = 5 "),
    "weights everywhere": PLAIN.replace("</s>\n", "</s>\t0\n").replace("<s> dog cat\n", "<s> dog cat\t0.0\n"),
    "other order": without(PLAIN, "-0.4\tdog cat\t-0.25\n").replace("cat </s>\n", "cat </s>\n-0.4 dog cat -0.25\n"),
    "beyond lines": PLAIN.replace("2=3", "2=5").replace("cat </s>\n", "cat </s>\n-0.1\tdog <s>\n-0.1\t</s> dog\n"),
    "an empty order": PLAIN.replace("3=1\n", "3=1\nngram 4=0\n").replace("\n\\end", "\n\\4-grams:\n\n\\end"),
    "an empty order without a title": PLAIN.replace("3=1\n", "3=1\nngram 4=0\n"),
}
