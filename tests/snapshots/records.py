"""Made-up results of every command, with the lengths that occur: what the snapshots show."""

from typing import Any

from foretell.tools.look.advice import Situation, advise, then
from foretell.tools.look.diagnosis import check
from foretell.tools.look.plan import record
from foretell.tools.look.trying_out import Counted
from foretell.tools.speed import Speed

Record = dict[str, Any]
FOLDER = "runs/wikitext-comparison"


def run_row(name: str, **changes: Any) -> Record:
    return {
        "name": name, "recipe": "awd-lstm-small", "model": "recurrent lstm", "parameters": 24_221_600, "steps": 123_456,
        "bits_per_byte": 1.2345, "lossy": False, "unknown_rate": 0.0, "ranked": True, "loss": 3.2, "metric": None,
        "objective_loss": None, "score": None, "when": "2026-11-29T22:43:48+00:00", "size_bytes": 291 << 20,
        "state": "finished", "problem": "",
    } | changes  # fmt: skip


def runs() -> Record:
    return {
        "folder": "runs",
        "runs": [
            run_row("awd-lstm-small"),
            run_row("seeds/gpt-wiki-mini-bigger-batches/seed-1", recipe="gpt-wiki-mini", model="transformer",
                    parameters=8_405_504, steps=2500, bits_per_byte=1.1876, size_bytes=135 << 20, state="stopped"),
            run_row("begun", steps=0, parameters=None, bits_per_byte=None, ranked=None, size_bytes=4321, state="empty"),
            run_row("ngram-5-words", recipe="ngram-5", model="ngram 5", parameters=3_120_441, steps=1,
                    bits_per_byte=0.8912, lossy=True, unknown_rate=0.0421, ranked=False, size_bytes=61 << 20),
        ],
    }  # fmt: skip


def runs_of_tasks() -> Record:
    task = {"recipe": "classify", "model": "transformer", "bits_per_byte": None, "ranked": None, "lossy": None}
    return {
        "folder": "runs",
        "runs": [
            run_row("reviews", **task, metric="accuracy", score=0.8453, parameters=22_713_602),
            run_row("conll", **task | {"recipe": "tag"}, metric="entity_f1", score=0.9021, parameters=22_716_297),
            run_row("bert-mini", model="transformer", recipe="bert-wiki-mini", bits_per_byte=None, ranked=None,
                    objective_loss=6.7239, problem="bert-mini/checkpoints/step-00000400: is damaged", state="damaged"),
        ],
    }  # fmt: skip


def standing(difference: float, low: float, high: float, p: float) -> Record:
    return {"difference": difference, "interval": [low, high], "low": low, "high": high, "real": low > 0,
            "p_better": 1 - p / 2, "p_value": p}  # fmt: skip


def compared_run(name: str, bits: float, **changes: Any) -> Record:
    return {
        "run": f"{FOLDER}/{name}", "bits_per_byte": bits, "unknown_rate": 0.0, "lossy": False, "ranked": True,
        "perplexity": 34.57, "top1": 0.3512, "parameters": 24_221_600, "tokens_per_second": 18_234.5,
        "context": "state carried through the text", "fitted_here": [], "unnormalised": "", "to_best": None,
    } | changes  # fmt: skip


def buckets(losses: list[float]) -> list[Record]:
    edges = [(0, 0), (1, 9), (10, 99), (100, 999), (1000, 9999)]
    return [
        {"from": low, "to": high, "tokens": 1234 * (n + 1), "loss": loss, "bits_per_byte": loss / 4}
        for n, ((low, high), loss) in enumerate(zip(edges, losses, strict=True))
    ]


BASELINES = {"xz": 1.814, "ppmd": 1.601, "zpaq": None, "train_bytes": 1_737_143}


def compare() -> Record:
    names = ["awd-lstm-small", "gpt-wiki-mini-rotary", "lstm-char"]
    first, second, third = (f"{FOLDER}/{name}" for name in names)
    return {
        "split": "test", "bytes": 1_256_449, "documents": 60, "parts": {"kind": "documents", "count": 60,
        "mean_bytes": 20_940.8}, "warning": None, "resamples": 4000, "same_tokens": False, "position_in": "documents",
        "runs": [
            compared_run(names[0], 1.1523),
            compared_run(names[1], 1.1688, parameters=8_405_504, perplexity=36.12, top1=0.3421,
                         tokens_per_second=9120.3, context="windows of 256 tokens, half of them overlapping",
                         to_best=standing(0.0165, 0.0121, 0.0214, 0.0005)),
            compared_run(names[2], 1.1702, perplexity=2.251, top1=None, adaptive={"bits_per_byte": 1.0512},
                         to_best=standing(0.0179, -0.0008, 0.0367, 0.061)),
        ],
        "pairs": [{"interval": [0.0121, 0.0214]}, {"interval": [-0.0008, 0.0367]}, {"interval": None}],
        "by_frequency": {first: buckets([9.1, 7.9, 6.5, 4.2, 2.1]), second: buckets([9.3, 8.0, 6.6, 4.3, 2.2]),
                         third: buckets([9.2, 8.1, 6.4, 4.4, 2.3])},
        "by_position": {first: buckets([8.1, 5.9, 4.5, 3.2, 3.1]), second: buckets([8.3, 6.0, 4.6, 3.3, 3.2]),
                        third: buckets([8.2, 6.1, 4.4, 3.4, 3.3])},
        "worst_tokens": {second: [worst("Valkyria", 12, 96.2), worst(" @-@", 431, 81.0)]},
        "baselines": BASELINES | {"zpaq": 1.4145},
    }  # fmt: skip


def worst(token: str, times: int, bits: float) -> Record:
    context = f"the third game of the series, which is known in the West as {token}"
    return {"token": token, "occurrences": times, "excess_bits": bits, "context": context, "context_excess_bits": 9.3}


def compare_lossy() -> Record:
    lossy = {"lossy": True, "unknown_rate": 0.0421, "ranked": False}
    names = ["awd-lstm-small", "ngram-5-words"]
    first, second = (f"{FOLDER}/{name}" for name in names)
    return compare() | {
        "runs": [compared_run(names[0], 1.1523), compared_run(names[1], 0.8912, **lossy, fitted_here=["cache weight"])],
        "pairs": [{"interval": None}], "worst_tokens": {}, "same_tokens": True,
        "warning": "only 12 documents: intervals are rough",
        "by_frequency": {first: buckets([9.1, 7.9, 6.5, 4.2, 2.1]), second: buckets([9.3, 8.0, 6.6, 4.3, 2.2])},
        "by_position": {first: buckets([8.1, 5.9, 4.5, 3.2, 3.1]), second: buckets([8.3, 6.0, 4.6, 3.3, 3.2])},
    }  # fmt: skip


def compare_tasks() -> Record:
    figures = {"loss": 0.41, "macro_f1": 0.8401, "calibration_error": 0.0321, "parameters": 22_713_602}
    return {
        "split": "test", "task": "classification", "metric": "accuracy", "examples": 2000, "parts": 1987,
        "warning": None, "resamples": 4000,
        "runs": [
            figures | {"run": "runs/reviews/minilm", "accuracy": 0.8453, "to_best": None},
            figures | {"run": "runs/reviews/awd-lstm-unfrozen-layer-by-layer", "accuracy": 0.831,
                       "to_best": standing(0.0143, -0.0005, 0.0292, 0.058), "parameters": 24_221_602},
        ],
    }  # fmt: skip


def race_row(name: str, bits: float, **changes: Any) -> Record:
    return {
        "contender": name, "bits_per_byte": bits, "deviation": 0.0123, "lossy": False, "ranked": True,
        "perplexity": 43.21, "parameters": 24_221_600, "trained_tokens": 5_242_880, "seconds": 301.2,
        "tokens_per_second": 17_412.6, "peak_memory_bytes": 1_482_563_584, "unknown_rate": 0.0,
        "context": "state carried, in 16 columns",
    } | changes  # fmt: skip


def race() -> Record:
    return {
        "race": "runs/race", "split": "test", "budget": "5m",
        "table_rows": [
            race_row("awd-lstm-small", 1.512),
            race_row("gpt-wiki-mini", 1.734, parameters=8_405_504, peak_memory_bytes=912_261_120),
            race_row("context-mixing", 1.741, deviation=None, adaptive_bits_per_byte=1.337),
            race_row("a-recipe-of-my-own-with-a-long-name", 1.802, seconds=295.0, trained_tokens=812_345),
            race_row("ngram-5", 0.891, deviation=None, lossy=True, ranked=False, unknown_rate=0.0421, seconds=4.2,
                     parameters=3_120_441, tokens_per_second=1_234_567.0, peak_memory_bytes=812_261_120),
        ],
        "baselines": BASELINES,
    }  # fmt: skip


def demo() -> tuple[Record, Record]:
    rows = [race_row("awd-lstm-tiny", 1.921, seconds=108.3), race_row("ngram-5", 2.012, seconds=1.2)]
    runs = [f"runs/demo/{row['contender']}-seed1" for row in rows]
    members = [{"weight": 0.61, "run": runs[0]}, {"weight": 0.39, "run": runs[1]}]
    mixing = {"bits_per_byte": 1.774, "parameters": 93_120_441, "tokens_per_second": 6.1e4, "seconds": 28}
    return {"table_rows": rows}, {
        "baselines": BASELINES, "adaptive": {"bits_per_byte": 1.317}, "context_mixing": mixing, "mixture": members,
        "mixture_bits_per_byte": 1.802, "mixture_perplexity": 33.4, "sample": "The value of the argument is a string.",
    }  # fmt: skip


def train() -> Record:
    return {
        "run": "runs/awd-lstm-small", "bits_per_byte": 1.1523, "bits_per_character": 1.1588, "perplexity": 34.57,
        "loss": 3.5429, "top1": 0.3512, "top5": 0.5531, "tokens": 245_569, "unknown_rate": 0.0, "lossy": False,
        "context": "state carried through the text", "columns": 16, "share": 0.1, "weights": "averaged",
        "parameters": 24_221_600, "seconds": 301.2, "tokens_per_second": 17_412.6, "peak_memory_bytes": 1_482_563_584,
    }  # fmt: skip


def evaluate_mixture() -> Record:
    weights = [{"weight": 0.6123, "run": "runs/wikitext-comparison/awd-lstm-small-with-a-long-name"},
               {"weight": 0.3877, "run": "runs/wikitext-comparison/ngram-5"}]  # fmt: skip
    return train() | {
        "fitted_here": ["mixture weights"], "lossy": True, "lost": {"unknown": 1234, "altered_lines": 1},
        "mixture": weights, "weights_fitted_to": "valid", "fitted_loss": 3.4912,
        "adaptation": {"cache": {"tuned": ["weight", "flatness"], "tuning_tokens": 20_000, "tuned_on": "valid"}},
    }  # fmt: skip


def evaluate_task() -> Record:
    labels = ["negative", "neutral", "positive", "sehr unzufrieden", "とても満足"]
    by_label = {label: {"precision": 0.8123 + n / 50, "recall": 0.7954, "f1": 0.8037, "support": 321 * (n + 1)}
                for n, label in enumerate(labels)}  # fmt: skip
    confusion = {gold: {one: (900 if one == gold else 13 * (n + 1)) for n, one in enumerate(labels)} for gold in labels}
    table = [{"from": n / 5, "to": (n + 1) / 5, "confidence": n / 5 + 0.1, "accuracy": n / 5 + 0.08,
              "predictions": 123 * (n + 1)} for n in range(5)]  # fmt: skip
    return {
        "run": "runs/reviews", "split": "test", "metric": "accuracy", "accuracy": 0.8453, "macro_f1": 0.8401,
        "loss": 0.4123, "examples": 4815, "by_label": by_label, "confusion": confusion,
        "calibration": {"ece": 0.0213, "bins": 15, "table": table}, "parameters": 22_713_605, "seconds": 45.3,
        "peak_memory_bytes": 891_289_600, "mistakes": 745, "errors_file": "mistakes.csv",
        "baseline": {"measured_on": "test", "most_frequent_label": 0.3333, "bag_of_words": 0.8479},
    }  # fmt: skip


def evaluate_scores() -> Record:
    edges = [-2.0, -1.2, -0.4, 0.4, 1.2, 2.0]
    return {
        "run": "runs/similar", "split": "valid", "metric": "spearman", "spearman": 0.8712, "pearson": 0.8691,
        "loss": 0.0213, "parameters": 22_713_601, "seconds": 12.0, "peak_memory_bytes": 891_289_600,
        "errors": {
            "quantiles": {"0%": -1.8123, "5%": -1.1, "25%": -0.4021, "50%": 0.0312, "75%": 0.5, "95%": 1.2,
                          "100%": 1.9},
            "bias": 0.0123, "mean_absolute_error": 0.4321, "root_mean_square_error": 0.6012,
            "histogram": {"edges": edges, "counts": [12, 310, 702, 421, 55]},
        },
    }  # fmt: skip


def trials() -> Record:
    keys = ("accuracy", "macro_f1", "loss", "calibration_error", "majority_accuracy", "weighted_f1")
    scores = {key: 0.8 + n / 100 for n, key in enumerate(keys)}
    done = {"run": "runs/t/seed-1", "seconds": 301.0, "valid": scores, "test": scores}
    spread = {key: {"median": v, "mean": v, "lowest": v - 0.01, "highest": v + 0.01} for key, v in scores.items()}
    return {
        "trials": "runs/classify-reviews", "trained": 2, "failed": 1,
        "results": {"seed-1": done, "seed-2": done,
                    "seed-3": {"run": "runs/t/seed-3", "error": "the loss is not finite at step 120"}},
        "summary": {"valid": spread, "test": spread},
    }  # fmt: skip


def transfer() -> Record:
    score = {"median": 0.9021, "lowest": 0.8991, "highest": 0.9044, "deviation": 0.0021}
    row = {"metric": "accuracy", "valid": score, "test": score, "trained": 3, "failed": 0, "errors": {},
           "bag_of_words": {"accuracy": 0.8123}}  # fmt: skip
    failed = {"trained": 2, "failed": 1, "errors": {"seed-2": "the loss is not finite at step 120"}}
    return {
        "run": "runs/bert-wiki-mini",
        "results": {
            "sst2": row, "trec": row | failed,
            "conll2003": row | {"metric": "entity_f1", "bag_of_words": None},
            "stsb": row | {"metric": "spearman", "test": None, "bag_of_words": None},
        },
    }  # fmt: skip


def probe() -> Record:
    fitted = {"accuracy": 0.8812, "valid_accuracy": 0.8754, "strength": 0.0625, "at_end_of_grid": False}
    return fitted | {
        "run": "runs/mlstm-reviews-small", "on": "sst2", "examples": {"test": 1821}, "units": 1024, "majority": 0.5011,
        "top": [fitted | {"units": [388], "accuracy": 0.8123}, fitted | {"units": [1] * 10, "at_end_of_grid": True}],
        "bag_of_words": fitted | {"width": 14_830, "made_of": "words"},
        "mix": {"layers": [0, 1, 2], "weights": [0.2, 0.3, 0.5]},
        "pictures": ["runs/mlstm-reviews-small/probe-sst2/unit-388.png"],
    }  # fmt: skip


def find_lr() -> Record:
    return {
        "warning": None, "learning_rate": 0.0021, "rule": "a tenth of the learning rate with the lowest smoothed loss,"
        " 0.021", "first_loss": 9.213, "least_loss": 6.402, "ending": "the loss rose above its start after 143 steps",
        "png": "lr.png",
    }  # fmt: skip


def find_lr_without() -> Record:
    warning = (
        "the loss fell by 0.012, and single losses vary by 0.031: no learning rate is clearly best; set more --steps, "
        "a higher --high or larger batches"
    )
    return find_lr() | {"warning": warning}


def tuned() -> Record:
    return {"weights": "lm=1.2,words=0.31,score1=0.5", "errors": 812.0, "errors_first": 934.0, "errors_untuned": 871.0,
            "errors_least": 402.0, "groups": 120, "hypotheses": 12_000}  # fmt: skip


def prepare() -> Record:
    return {
        "store": "stores/wikitext-103-bpe-8000", "splits": "train, valid, test", "vocabulary": 8000,
        "tokens": 131_234_567, "documents": 28_595, "bytes": 541_096_898, "unknown": 0, "left_out": [],
        "seconds": 192.3, "tokens_per_second": 682_447.1, "peak_memory_bytes": 1_482_563_584,
    }  # fmt: skip


def features() -> Record:
    return {"texts": 12_000, "width": 1024, "dtype": "float32", "out": "vectors/reviews-train.npy", "bytes": 49_152_000,
            "seconds": 45.2, "texts_per_second": 265.5}  # fmt: skip


def side(**changes: Any) -> Record:
    return {
        "seconds": 12.345, "ratio": 1.0, "ratio_quartiles": [1.0, 1.0], "cpu_ratio": 1.0, "loss": 4.5678,
        "peak_memory_bytes": 891_289_600, "others": 0.03, "versions": {"torch": "2.13.0", "python": "3.11.9"},
    } | changes  # fmt: skip


def bench() -> Record:
    return {
        "processor": "Intel(R) Xeon(R) Platinum 8481C", "cores": 2, "threads": 2,
        "floors": {"float32": {"GFLOP/s": 123.4, "GB/s": 20.1}, "bfloat16": {"GFLOP/s": 456.7, "GB/s": 20.3}},
        "results": [{
            "workload": "awd-lstm-step", "work": "60 training steps of the AWD-LSTM on PTB, batch 20, 70 tokens",
            "pairs": 9, "not_measured": {"fastai, our settings": "not installed: fastai"},
            "sides": {"ours": side(), "salesforce": side(ratio=1.312, ratio_quartiles=[1.291, 1.35], overhead=0.02,
                                                         seconds=16.201, cpu_ratio=1.287)},
        }],
    }  # fmt: skip


def bench_list() -> Record:
    return {
        "workloads": [
            {"name": "awd-lstm-step", "text": "Training steps of the AWD-LSTM, beside the published code."},
            {"name": "floors", "text": "The limits of this machine: matrix products and copies of memory."},
        ]
    }


# --- doctor and show ------------------------------------------------------------------------------


def finding(level: str, about: str, text: str, do: str = "") -> Record:
    return {"level": level, "about": about, "text": text, "do": do}


def doctor() -> Record:
    return {
        "what": "machine",
        "versions": {"foretell": "0.1.0", "python": "3.11.9", "torch": "2.13.0+cpu"},
        "machine": {"platform": "Linux-6.8.0-x86_64-with-glibc2.35", "processor": "Intel(R) Xeon(R) Platinum 8481C",
                    "cores": 2, "threads": 2, "memory_bytes": 8_330_301_440, "memory_available_bytes": None,
                    "disk_free_bytes": {"/home/me/models": 30_064_771_072, "/home/me/.cache/foretell": 30_064_771_072}},
        "devices": [{"name": "NVIDIA H200", "memory_bytes": 150_323_855_360, "memory_free_bytes": 148_176_371_712,
                     "bf16": True}],
        "settings": {"OMP_NUM_THREADS": "2", "allocator keeps memory": True},
        "data": {"python-docs": "found",
                 "wikitext-2": "put wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens into wikitext-2 below "
                               "FORETELL_DATA"},
        "cache": {"folder": "/home/me/.cache/foretell", "bytes": 123_456_789},
        "speed": [{"device": "cpu", "dtype": "float32", "gflops": 123.4, "gigabytes_per_second": 20.12},
                  {"device": "cuda", "dtype": "bfloat16", "gflops": 612_345.6, "gigabytes_per_second": 4012.3}],
        "self_test": {"problem": "", "device": "cpu", "steps": 60, "loss_first": 4.812, "loss_last": 2.713,
                      "resumed_exactly": True, "tokens_per_second": 51_234.5, "sample": "The the and of a", "seconds":
                      4.2},
        "findings": [
            finding("ok", "torch", "2.13.0; supported: torch>=2.11,<2.14"),
            finding("warning", "threads", "64 on 2 cores", "export OMP_NUM_THREADS=2"),
            finding("error", "self-test", "RuntimeError: no kernel", "report it with the output of foretell doctor "
                    "--json"),
        ],
    }  # fmt: skip


def doctor_corpus() -> Record:
    size = {"complete": True, "documents": 600, "lines": 23_767, "words": 2_051_910, "characters": 10_780_437,
            "bytes": 10_918_118, "longest_line": 3863}  # fmt: skip
    shares = {"lines": 0.0123, "paragraphs": 0.0004}
    held = {
        "also_in_train": shares | {"passages": 0.0217},
        "unknown": {"words": 0.0321, "words_top_30000": 0.0712, "characters": 0.00012},
    }
    return {
        "what": "corpus", "corpus": "novels/*.txt",
        "files": {"count": 42, "stored_bytes": 12_345_678, "looked_at_bytes": 12_345_678, "empty": 1,
                  "byte_order_marks": 2, "invalid_utf8": 0, "nul": 0, "carriage_returns": 120, "damaged": [],
                  "left_out": ["novels/cover.png", "novels/notes.docx"]},
        "splits": {"train": size | {"repeated": shares}, "valid": size | held, "test": size | held},
        "looks_like": "one paragraph per line, not tokenised",
        "longest_passages_in_train": [{"passage": "valid 1", "bytes": 1204, "document": 12, "offset": 4711,
                                       "text": "It was the best of times, it was the worst of times, it was…"}],
        "odd_characters": {"U+FEFF": 2, "U+200B": 31},
        "findings": [
            finding("warning", "files", "120 CRLF line endings",
                    "kept as text: remove them, as with dos2unix"),
            finding("ok", "valid", "1.2% of lines of 20 characters or more are in train too"),
        ],
    }  # fmt: skip


def trace() -> Record:
    row = {"token": "x", "occurrences": 3, "document": 1442, "next": "d"}
    text = "ing the operating system\nof this machine and then of all the others"
    return {"run": "runs/awd-lstm-small", "text": "letter.txt", "tokens": 40, "passages": [12, 31], "trace": [
        {"position": 5, "length": 4, "offset": 17, "text": "the cat", **row},
        {"position": 12, "length": 11, "offset": 12_388, "text": text, **row},
        {"position": 31, "length": 7, "offset": 13_251, "text": "way of ", **row}]}  # fmt: skip


def doctor_labels() -> Record:
    facts = {"examples": 2000, "empty": 3, "words": {"mean": 231.4, "median": 172.0, "largest": 1840},
             "too_long": {"over_128_words": 0.6123}}  # fmt: skip
    labels = {name: {"train": 1200 - 300 * n, "valid": 150, "test": 148}
              for n, name in enumerate(("positive", "negative", "mixed_or_unclear_opinion", "とても満足"))}  # fmt: skip
    return {
        "what": "labelled data", "corpus": "reviews.csv", "labels": labels, "label_count": 4,
        "splits": {"train": facts | {"repeated": {"examples": 0.0213}},
                   "valid": facts | {"also_in_train": {"examples": 0.0}}},
        "contradictions": ["reviews.csv:12, reviews.csv:840", "reviews.csv:99, reviews.csv:100"],
        "odd_characters": {"U+FFFD": 12, "Ã©": 4},
        "baseline": {"measured_on": "valid", "most_frequent_label": 0.4012, "bag_of_words": 0.7412},
        "findings": [
            finding("warning", "contradictions", "2 texts with different labels: reviews.csv:12, reviews.csv:840",
                    "decide on one label for each"),
            finding("warning", "train", "61.2% over 128 words", "make data.batches.length larger"),
        ],
    }  # fmt: skip


def doctor_run() -> Record:
    return {
        "what": "run", "run": "runs/awd-lstm-small",
        "checkpoints": {"step-00001200": {"bytes": 291_234_567, "problem": "", "lost": False},
                        "step-00001800": {"bytes": 0, "problem": "weights.safetensors does not match its checksum",
                                          "lost": False}},
        "best": "step-00001200", "last": "step-00001800", "set_aside": [],
        "last_record": {"kind": "train", "step": 1800, "loss": 3.2123, "bits_per_byte": 1.2, "tokens_per_second":
                        17_412.0, "seconds": 301.2},
        "best_validation": None, "finished": False, "resumable": True, "disk_free_bytes": 30_064_771_072,
        "findings": [finding("error", "step-00001800", "weights.safetensors does not match its checksum",
                             "--resume sets it aside and continues from the newest intact one")],
    }  # fmt: skip


def timed(listed: Record) -> Record:
    """Some recipes with times on this machine."""
    times = [30.0, 240.0, None, 4000.0, 2.3e6]
    recipes = [
        recipe | {"course_seconds": seconds, "fits": None if seconds is None else seconds <= 600, "too_large": False}
        for recipe, seconds in zip(listed["recipes"][::9], times, strict=False)
    ]
    return listed | {"for_seconds": 600.0, "recipes": [*recipes[:-1], recipes[-1] | {"too_large": True}]}


def show_recipe() -> Record:
    return {
        "what": "recipe", "toml": 'name = "awd-lstm-small"\nlimit = "10m"\n', "vocabulary": 8192,
        "vocabulary_source": "prepared before", "parameters": 24_221_600, "trained_parameters": 24_000_000,
        "parts": [{"part": "embedding", "parameters": 3_276_800},
                  {"part": "layers", "parameters": 20_936_608},
                  {"part": "head", "parameters": 8192, "shared": 3_276_800}],
        "memory_bytes": {"weights": 96_886_400, "gradients": 96_886_400, "optimizer": 193_772_800,
                         "total": 387_545_600},
        "flops_per_token": {"forward": 48_443_200.0, "training": 145_329_600.0},
    }  # fmt: skip


def show_run() -> Record:
    orders = [{"order": n, "ngrams": 1234 * 10**n, "pruned": 12 * (n > 1), "discounts": [0.612, 1.034, 1.391],
               "fallback": "Kneser-Ney" if n == 3 else ""} for n in (1, 2, 3)]  # fmt: skip
    record = {"step": 1, "epoch": 1.0, "kind": "valid", "loss": 4.8123, "bits_per_byte": 1.5}
    return show_recipe() | {"what": "run", "orders": orders, "unnormalised": "3 of 8,192 contexts do not sum to 1",
                            "best": record, "last": record | {"kind": "train"}}  # fmt: skip


def plan_text() -> dict[str, Any]:
    speed = Speed({"recurrent": 69e9, "transformer": 88e9}, "cpu", 0.0)
    sample = Counted(2.115, 3.46, 1.2e6)
    situation = Situation("novel.txt", 600.0, speed, None, train_bytes=1.9e6, sample=sample, sample_bytes=1_048_600)
    following = then(situation)
    assert following is not None
    return plan_of(situation, [record(advice) for advice in advise(situation)], record(following)) | {
        "text": {
            "train_bytes": 1_900_000, "train_tokens": 549_000, "language": "English", "scripts": {"Latin": 1.0},
            "looks_like": "one paragraph per line, not tokenised", "repeated": {"lines": 0.154, "paragraphs": 0.02},
            "measured": {"held_out_bytes": 100_020, "baselines": BASELINES},
        },
        "findings": [check(False, "train", "15.4% of lines, 2.0% of paragraphs are duplicates", "remove duplicates")],
    }  # fmt: skip


def plan_labels() -> dict[str, Any]:
    speed = Speed({"recurrent": 69e9, "transformer": 88e9}, "cpu", 0.0)
    models = [
        {"name": "minilm", "model": "transformer", "parameters": 22_700_000, "imported": True},
        {"name": "novel", "model": "recurrent lstm", "parameters": 2_760_000, "imported": False},
    ]
    situation = Situation("reviews.csv", 600.0, speed, None, task="classification", models=models)
    return plan_of(situation, [record(advice) for advice in advise(situation)], None) | {
        "labelled": {
            "task": "classification", "label_count": 2, "labels": {"good": {"train": 812}, "bad": {"train": 788}},
            "splits": {
                "train": {"examples": 1600, "words": {"mean": 231.2, "largest": 1840}}, "valid": {"examples": 200},
            },
            "baseline": {"measured_on": "valid", "most_frequent_label": 0.5075, "bag_of_words": 0.855},
            "language": "English", "scripts": {"Latin": 1.0},
        },
        "findings": [],
    }  # fmt: skip


def plan_of(situation: Situation, advice: list[Any], following: Any) -> dict[str, Any]:
    """The parts of a plan that do not depend on the data."""
    rates = dict(situation.speed.flops)
    host = {"cores": 2, "memory_available_bytes": 21e9, "device": "cpu", "training_flops_per_second": rates}
    budget = situation.seconds
    return {
        "corpus": situation.corpus,
        "budget_seconds": budget,
        "machine": host,
        "advice": advice,
        "then": following,
        "notes": [],
    }
