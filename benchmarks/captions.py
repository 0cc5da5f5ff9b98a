"""Claim: the real language_original.mat becomes items, new captions and a report in at most 20
seconds and 600 MB; at least 60 % of rows gain a word of texture, fabric or cut, distinct captions
become at least 5 times more, and none contradicts its labels.

python benchmarks/captions.py      writes results/captions.json
"""

import re
import resource
import tempfile
import time
from pathlib import Path

from common import shared_folder, write_result

from tvhelpers.data import caption_files
from tvhelpers.data.caption_parsing import contradictions
from tvhelpers.data.fashion_synthesis import COLOURS
from tvhelpers.data.lexicon import product_words
from tvhelpers.data.sources import open_source
from tvhelpers.records import read_rows

SHOWN = {"pattern", "fabric", "cut"}
file = shared_folder() / "data" / "deepfashion_annotations" / "language_original.mat"

began = time.monotonic()
with tempfile.TemporaryDirectory() as folder:
    out = Path(folder) / "captions.jsonl"
    source = open_source(file)
    result = caption_files.write_captions(source, out)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    taken = caption_files.with_captions(source, out).captions
    rows = [row["captions"] for row in read_rows(out)]


def has_word(text: str) -> bool:
    return not SHOWN.isdisjoint(product_words(text))


gained = sum(has_word(new) and not has_word(old) for old, new in zip(source.captions, taken))
pairs = [(i, text) for i, texts in enumerate(rows) for text in texts]
contradicting = {i for i, text in pairs if contradictions(source.attributes[i], text)}


def other_colours(labels: dict, text: str) -> bool:
    """Whether a colour of the codebook, looked for word by word, is not the label's."""
    seen = {*re.findall("[a-z]+", text)} & {*COLOURS.values()}
    return "colour" in labels and bool(seen - {labels["colour"]})


from transformers import CLIPTokenizer  # noqa: E402  after the timing

tokenizer = CLIPTokenizer.from_pretrained(
    Path(caption_files.__file__).parents[1] / "models" / "mini_weights" / "tokenizer"
)
original = [contradictions(*pair) for pair in zip(source.attributes, source.captions)]
write_result(
    "captions",
    {
        "rows": len(source),
        "seconds": round(seconds, 2),
        "peak_rss_mb": round(peak),
        "rows_that_gain_a_word": round(gained / len(source), 4),
        "distinct_before": result["before"]["distinct"],
        "distinct_after": result["after"]["distinct"],
        "distinct_of_all_variants": len({text for _, text in pairs}),
        "captions_checked": len(pairs),
        "rows_that_contradict_their_labels": len(contradicting),
        "captions_with_another_colour_word": sum(
            other_colours(source.attributes[i], text) for i, text in pairs
        ),
        "originals_that_contradict_their_labels": sum(map(bool, original)),
        "tokens_by_the_tokenizer_of_mini": caption_files.caption_report(taken, tokenizer)["tokens"],
        "before": result["before"],
        "after": result["after"],
    },
)
