"""What does the verb `score` measure?"""

from dataclasses import fields
from pathlib import Path

from tvhelpers.cli.options import DEVICE, REQUIRED, add_options, option
from tvhelpers.score.request import CLASSIFIERS, ScoreRequest

OPTIONS = (
    option("dirs DIR", Path, nargs="+"),
    option("--out METRICS.JSON", Path, REQUIRED, "file for the figures; pictures go beside it"),
    option("--classifier", str, "auto", ", ".join(CLASSIFIERS)),
    option("--real DIR", Path, None, "real pictures to measure distances from"),
    option("--features NAME", str, "", "judge, or a vision model of transformers: DINOv2, CLIP, "
           "SigLIP, by folder or hub id", "judge with --real, else none"),
    option("--clip NAME", str, "", "CLIPScore by this CLIP, not the drawing one"),
    option("--cache DIR", Path, None, "keep what the networks gave"),
    option("--reader NAME", str, "", "of pictures from a suite: judge, or clip for zero-shot by "
           "--clip, which --known calibrates", "judge for what mini drew"),
    option("--known SOURCE", str, "", "pictures with attributes, to tell how often the reader errs",
           "flats"),
    option("--train SOURCE", str, "", "look for copies of its training pictures"),
    option("--held-out SOURCE", str, "", "real pictures that no training saw", "what a training "
           "holds out of --train"),
    option("--copies NAME", str, "pixels", "what copies are found in: pixels, or as --features"),
    DEVICE,
)  # fmt: skip


def declare(parser) -> None:
    """Give `score` its options."""
    add_options(parser, run, *OPTIONS)


def run(options) -> dict:
    """Score, print the table, and return the metrics."""
    names = [field.name for field in fields(ScoreRequest) if hasattr(options, field.name)]
    given = {name: getattr(options, name) for name in names}
    request = ScoreRequest(out_path=options.out, **given)
    from tvhelpers.score.report import format_table, score_folders

    result = score_folders(request)
    print(format_table(result))
    from tvhelpers.data.sources import open_source
    from tvhelpers.show.scores import write_figures

    folder = options.out.with_name(f"{options.out.stem}-figures")
    train = open_source(options.train) if options.train else None
    print(f"{len(write_figures(result, folder, train))} figures in {folder}")
    return result
