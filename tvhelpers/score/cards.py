"""What each figure counts, which way is better, and what it does not say: printed beside it."""

CARDS: dict[str, str] = {
    "inception_score": "effective number of kinds that the pictures plainly show, 1 to the cap; "
    "higher is more varied and plainer, not nearer to the prompt; only figures of one classifier "
    "compare",
    "colour": "share of the pictures whose prompt names a colour that are measured to have it "
    "(CIELAB of the garment, no network); where the measure abstains it counts as not right, so "
    "compare with real pictures, not with 1",
    "atom": "share of the pictures that show a word of their prompt, by the reader; its ceiling is "
    "how often it is right on pictures whose attributes are known, corrected is the share that "
    "would give these readings; compare with the ceiling, not with 1",
    "stratum": "share of the pictures of a part of the suite that show all words of their prompt "
    "which the reader knows",
    "binding": "share of the pairs of prompts with two words swapped whose two pictures are each "
    "nearer to their own prompt, by CLIP; chance is 0.25",
    "copying": "share of the pictures that are nearer to a training picture than 99 % of held-out "
    "real ones are; 0.01 is what no copying gives, more is copying or the training set's own kind "
    "of picture: look at the pairs",
    "clip_score": "mean 100 * cosine of picture and prompt in a CLIP that did not draw it; higher "
    "fits better; blind to counts and to which word belongs to which garment",
    "vendi_score": "effective number of pictures that have nothing in common; higher is more "
    "varied; grows with their number, so compare equal numbers",
    "kernel_distance": "squared distance of the features' distributions from the real pictures' "
    "(KID, unbiased); lower is nearer, below 0 is chance; p is that of no difference",
    "precision": "share of the pictures within the real ones' neighbourhoods; higher is more real",
    "recall": "share of the real pictures within the drawn ones' neighbourhoods; higher is more "
    "of their variety",
    "density": "how many real neighbourhoods hold a picture, 1 for equal sets; higher is more real",
    "coverage": "share of the real pictures with a drawn one in their neighbourhood; higher is "
    "more of their variety, robust to outliers",
}


def card_of(name: str) -> str:
    """Return the card of a figure; what follows a colon says of which part it is."""
    return CARDS[name.split(":")[0]]
