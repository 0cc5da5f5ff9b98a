"""Which metrics are there, what does each need, and what does it count?

To add one, write its function (arrays in, a Result out) and give it an entry in METRICS: it then is
in metrics.json, in the table, in the figures and, where its Result can be left out by groups, in
the comparisons.  What a metric may need is in `needs.NEEDS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

from tvhelpers.score.attributes import atom_scores, binding, stratum_scores
from tvhelpers.score.colour import colour_score
from tvhelpers.score.distances import kernel_distance, vendi_score
from tvhelpers.score.metrics import Result, clip_score, inception_score


@dataclass(frozen=True)
class Metric:
    """A figure of a folder of pictures: its function, what that is called with, and its card."""

    name: str  # of its results; there, a colon and the name of a part may follow
    compute: Callable[..., Result | list[Result]]  # of the values of `needs`, in their order
    needs: tuple[str, ...]  # names of NEEDS; where one of them is None, there is no figure
    card: str  # what it counts, which way is better, and what it does not say

    def results(self, needs) -> list[Result]:
        """Return the results for one folder's `Needs`, [] where they lack one."""
        values = []
        for name in self.needs:
            values.append(needs[name])
            if values[-1] is None:
                return []
        found = self.compute(*values)
        return found if isinstance(found, list) else [found]


# fmt: off
METRICS = [
    Metric("inception_score", inception_score, ("probs", "groups"),
           "effective number of kinds that the pictures plainly show, 1 to the cap; higher is more "
           "varied and plainer, not nearer to the prompt; only figures of one classifier compare"),
    Metric("colour", colour_score, ("asked_colours", "colours", "groups"),
           "share of the pictures whose prompt names a colour that are measured to have it (CIELAB "
           "of the garment, no network); where the measure abstains it counts as not right, so "
           "compare with real pictures, not with 1"),
    Metric("atom", atom_scores, ("suite_rows", "words", "heads", "known_words"),
           "share of the pictures that show a word of their prompt, by the reader; its ceiling is "
           "how often it is right on pictures whose attributes are known, corrected is the share "
           "that would give these readings; compare with the ceiling, not with 1"),
    Metric("stratum", stratum_scores, ("suite_rows", "words", "heads"),
           "share of the pictures of a part of the suite that show all words of their prompt which "
           "the reader knows"),
    Metric("clip_score", clip_score, ("image_embeds", "text_embeds", "groups"),
           "mean 100 * cosine of picture and prompt in a CLIP that did not draw it; higher fits "
           "better; blind to counts and to which word belongs to which garment"),
    Metric("binding", binding, ("suite_rows", "seeds", "image_embeds", "text_embeds"),
           "share of the pairs of prompts with two words swapped whose two pictures are each "
           "nearer to their own prompt, by CLIP; chance is 0.25"),
    Metric("vendi_score", vendi_score, ("features",),
           "effective number of pictures that have nothing in common; higher is more varied; grows "
           "with their number, so compare equal numbers"),
    Metric("kernel_distance", kernel_distance, ("features", "real_features"),
           "squared distance of the features' distributions from the real pictures' (KID, "
           "unbiased); lower is nearer, below 0 is chance; p is that of no difference"),
    Metric("precision", itemgetter("precision"), ("neighbours",),
           "share of the pictures within the real ones' neighbourhoods; higher is more real"),
    Metric("recall", itemgetter("recall"), ("neighbours",),
           "share of the real pictures within the drawn ones' neighbourhoods; higher is more of "
           "their variety"),
    Metric("density", itemgetter("density"), ("neighbours",),
           "how many real neighbourhoods hold a picture, 1 for equal sets; higher is more real"),
    Metric("coverage", itemgetter("coverage"), ("neighbours",),
           "share of the real pictures with a drawn one in their neighbourhood; higher is more of "
           "their variety, robust to outliers"),
    Metric("copying", list, ("copies",),
           "share of the pictures that are nearer to a training picture than 99 % of held-out real "
           "ones are; 0.01 is what no copying gives, more is copying or the training set's own "
           "kind of picture: look at the pairs"),
]
# fmt: on


def all_results(needs) -> list[Result]:
    """Return the results of every metric whose needs a folder's `Needs` meet."""
    return [result for metric in METRICS for result in metric.results(needs)]


def card_of(name: str) -> str:
    """Return the card of a result; what follows a colon says of which part it is."""
    return next(metric.card for metric in METRICS if metric.name == name.split(":")[0])
