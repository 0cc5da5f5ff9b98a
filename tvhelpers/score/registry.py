"""Which metrics are there, what does each need, and what does it measure?

To add one, write its function (arrays in, a Result out) and give it an entry in METRICS.  It then
is in metrics.json, in the table, in the figures and, where its Result has `leave_one_out`, in the
comparisons.  Its inputs are names of `needs.NEEDS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

from tvhelpers.errors import InputError
from tvhelpers.score.attributes import attribute_scores, binding, stratum_scores
from tvhelpers.score.colour import colour_score
from tvhelpers.score.distances import kernel_distance, vendi_score
from tvhelpers.score.looks import duplicates
from tvhelpers.score.metrics import Result, clip_score, inception_score
from tvhelpers.words import listed


@dataclass(frozen=True)
class Metric:
    """A figure of a folder of images: its function, the inputs of that, and its card."""

    name: str  # of its results, where a colon and the name of a part may follow
    compute: Callable[..., Result | list[Result] | None]  # of the values of `needs`, in their order
    needs: tuple[str, ...]  # names of NEEDS; where one is None, there is no figure
    card: str  # for everybody: what it measures, which way is better, what it does not say

    def results(self, needs) -> list[Result]:
        """Return the results for one folder's `Needs`, [] where an input is missing."""
        values = []
        for name in self.needs:
            values.append(needs[name])
            if values[-1] is None:
                return []
        found = self.compute(*values)
        return found if isinstance(found, list) else [found] * (found is not None)


# fmt: off
METRICS = [
    Metric("inception_score", inception_score, ("probs", "groups"),
           "How many kinds of thing the images clearly show, from 1 to an upper bound. "
           "Higher is more varied and clearer. It does not say whether an image matches its "
           "prompt. Compare only scores of the same classifier."),
    Metric("colour", colour_score, ("asked_colours", "colours", "groups"),
           "Share of images in the colour that their prompt names, measured from the garment's "
           "pixels without a network. Higher is better. An unclear colour counts as wrong, so "
           "that real photos do not reach 1 either: compare with those."),
    Metric("attribute", attribute_scores, ("suite_rows", "words", "heads", "calibration_words"),
           "Share of images that show the category, colour, ... of their prompt, as the attribute "
           "classifier sees it. Higher is better. The classifier makes mistakes: 'ceiling' is "
           "its accuracy on images whose attributes are known, 'corrected' is the share without "
           "its mistakes. Compare with the ceiling, not with 1."),
    Metric("stratum", stratum_scores, ("suite_rows", "words", "heads"),
           "Share of images that show all attributes of their prompt, for one part of the prompt "
           "suite. Higher is better. Attributes that the classifier does not know are ignored."),
    Metric("clip_score", clip_score, ("image_embeds", "text_embeds", "groups"),
           "How well image and prompt match, 0 to 100, for a CLIP that did not generate the "
           "images. Higher is better. It does not notice how many garments there are, or which "
           "colour belongs to which garment."),
    Metric("binding", binding, ("suite_rows", "seeds", "image_embeds", "text_embeds"),
           "Share of prompt pairs such as 'red top, blue skirt' and 'blue top, red skirt' where "
           "each of both images matches its own prompt better, by CLIP. Higher is better; images "
           "that ignore the prompt give 0.25."),
    Metric("vendi_score", vendi_score, ("features",),
           "How varied the images are: so many images without anything in common would be as "
           "varied. Higher is more varied, not better. It grows with the number of images: "
           "compare equal numbers."),
    Metric("kernel_distance", kernel_distance, ("features", "real_features"),
           "Distance from the real images in the extractor's features (KID). Lower is better; "
           "around 0 and below, no difference was found. p is the probability of such a distance "
           "without any difference."),
    Metric("precision", itemgetter("precision"), ("neighbours",),
           "Share of generated images that look like some real image, in the extractor's features. "
           "Higher is more realistic. It does not say whether the images are varied."),
    Metric("recall", itemgetter("recall"), ("neighbours",),
           "Share of real images that look like some generated image. Higher covers more of the "
           "variety of the real images. It does not say whether all images are realistic."),
    Metric("density", itemgetter("density"), ("neighbours",),
           "How close generated images are to the typical real images; equal sets give 1. Higher "
           "is more realistic. It does not say whether the images are varied."),
    Metric("coverage", itemgetter("coverage"), ("neighbours",),
           "Share of real images with a generated image nearby. Higher covers more of the variety "
           "of the real images. Unlike recall, a few odd images change it little."),
    Metric("duplicates", duplicates, ("thumbnails", "prompts"),
           "Share of images that nearly equal an image of another prompt. Lower is better; 0 is "
           "normal. 1 means that the prompts do not matter: all images are the same."),
    Metric("copying", list, ("copies",),
           "Share of generated images that are nearer to a training image than 99 % of validation "
           "images are. Lower is better; 0.01 is normal without copies. More means copies, or "
           "training images that all look alike: look at the pairs."),
]
# fmt: on


def all_results(needs) -> list[Result]:
    """Return the results of every metric whose inputs a folder's `Needs` have.

    A metric that cannot be computed becomes a note of `needs`, and the others stay.  Raises
    InputError where none can be.
    """
    results: list[Result] = []
    failed: dict[str, list[str]] = {}
    for metric in METRICS:
        try:
            results += metric.results(needs)
        except InputError:
            raise
        except ValueError as error:
            failed.setdefault(str(error), []).append(metric.name)
    if failed and not results:
        raise InputError("cannot-be-scored", problem=next(iter(failed)))
    for error, names in failed.items():
        needs.note(f"no {listed(names)}: {error}")
    return results


def card_of(name: str) -> str:
    """Return the card of a result; after a colon in `name` stands its part."""
    return next(metric.card for metric in METRICS if metric.name == name.split(":")[0])
