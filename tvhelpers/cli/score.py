"""What are the options of the verb `score`?"""

from dataclasses import fields
from pathlib import Path

from tvhelpers.cli.options import DEVICE, REQUIRED, SOURCE, add_options, option
from tvhelpers.output import say
from tvhelpers.score.request import ScoreRequest
from tvhelpers.words import counted

OPTIONS = (
    option("dirs DIR", Path, text="folders of images; each is compared with the first", nargs="+"),
    option("--out METRICS.JSON", Path, REQUIRED, "file for the numbers; charts go beside it"),
    option("--classifier", str, "auto", "for the Inception Score: inception (knows photos), judge "
           "(knows drawings), or auto: judge for drawings, else inception if it is there"),
    option("--real DIR", Path, None, "folder of real images: adds kernel distance (KID), "
           "precision, recall, density and coverage; for photos give --features too"),
    option("--features NAME", str, "", "feature extractor for the scores of --real: judge (for "
           "drawings), or, for photos, a vision model (DINOv2, CLIP, SigLIP): a folder, or "
           "hub:facebook/dinov2-small after `hf download`", "judge with --real, else none"),
    option("--clip NAME", str, "", "CLIP for CLIPScore, how well image and prompt match: a folder, "
           "or hub:patrickjohncyh/fashion-clip after `hf download`; the CLIP of the "
           "base that generated the images is refused"),
    option("--cache DIR", Path, None, "folder for features, to score the same images again faster"),
    option("--attribute-classifier/--reader NAME", str, "", "network that recognises "
           "attributes, only for images of a prompt suite: judge for flats, or clip for photos, "
           "with --clip and, as --calibration, photos with a table of their categories and "
           "colours", "judge for images by mini"),
    option("--calibration/--known SOURCE", str, "", "images with known attributes, to measure how "
           "often the attribute classifier is wrong; if omitted, judge takes flats"),
    option("--train SOURCE", str, "", "training data of the model: reports generated images that "
           f"are near-copies of it; a folder RUN of `train`, or {SOURCE}"),
    option("--validation/--held-out SOURCE", str, "", "real images "  # stable name
           "that the model was not trained on; they show how similar two different garments can be",
           "the validation items of --train", only="--train"),
    option("--copies NAME", str, "pixels", "how images are compared, to find near-copies: by "
           "pixels, or by a network (as --features)", only="--train"),
    DEVICE,
)  # fmt: skip


def declare(parser) -> None:
    """Give `score` its options."""
    add_options(parser, run, *OPTIONS)


def run(options) -> dict:
    """Score, print the table, draw the charts, and return the metrics."""
    names = [field.name for field in fields(ScoreRequest) if hasattr(options, field.name)]
    given = {name: getattr(options, name) for name in names}
    request = ScoreRequest(out_path=options.out, **given)
    from tvhelpers.score.report import format_table, score_folders

    result = score_folders(request)
    say(*format_table(result).split("\n"))
    from tvhelpers.score.copying import open_trained
    from tvhelpers.show.scores import write_figures

    folder = options.out.with_name(f"{options.out.stem}-figures")
    train = open_trained(options.train)[0] if options.train else None
    say(f"{counted(len(write_figures(result, folder, train)), 'chart')} in {folder}")
    return result
