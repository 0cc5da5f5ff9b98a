"""What came out of a training, as numbers, in words, and as the metadata of its adapter?"""

from tvhelpers import manifest
from tvhelpers.lora.formats import about_family
from tvhelpers.train.loop import Loop
from tvhelpers.train.model import scheduler_changes

# settings that an adapter's metadata have where they are given
SAID = ("distill_guidance", "title", "trigger_words")
NO_BETTER = (  # than step 0, on the validation items
    "on the validation items the result is no better than the base; try a lower learning_rate, "
    "more items, or captions that say more"
)


def result_of(loop: Loop, kept: int) -> dict:
    """Return the content of result.json of a training whose result is that of step `kept`."""
    trainer, curve = loop.trainer, loop.curve
    losses = {row["step"]: row["validation_loss"] for row in curve}
    last = curve[-1]["validation_loss"]
    return {
        "steps": trainer.step,
        "num_items": len(trainer.data.train_items),
        "num_held_out": len(trainer.data.validation_items),
        "held_out_loss_base": curve[0]["validation_loss"],
        "held_out_loss": losses.get(kept, last),
        "kept_step": kept,
        "validation_loss_last": last,
    }


def outcome(result: dict) -> list[str]:
    """Return in lines of which step the result is, and its validation loss beside the base's."""
    before, after = result["held_out_loss_base"], result["held_out_loss"]
    change = f"{abs(after / before - 1):.1%} {'higher' if after > before else 'lower'}"
    last = result["kept_step"] == result["steps"]
    text = f"{'the last step' if last else 'step'} {result['kept_step']} is kept: validation loss "
    text += f"{before:.4f} of the base -> {after:.4f}, {change}"
    if not last:
        text += f"; of the last step, {result['steps']}: {result['validation_loss_last']:.4f}"
    return [text, *([NO_BETTER] if after >= before else [])]


def metadata_of(trainer, origin, step: int) -> dict:
    """Return the metadata of the adapter of a step: how it was made, without paths and dates."""
    config, digests, rows = trainer.config, {**origin.digests}, manifest.entries()
    named = {"base": origin.base.name, "data": config.data, "regularization": config.regularization}
    data_digest = digests.pop("data_fingerprint")
    return {
        "base": origin.base.name,
        **digests,
        "data_digest": data_digest,
        "steps": step,
        "rank": config.rank,
        "alpha": config.alpha or config.rank,
        "targets": config.targets,
        **about_family(origin.base.architecture),
        **{key: getattr(config, key) for key in SAID if getattr(config, key)},
        "resolution": trainer.data.cache.about["resolution"],
        "prediction_type": trainer.scheduler.config.prediction_type,
        "scheduler": scheduler_changes(config),
        "licences": {key: rows[name]["licence"] for key, name in named.items() if name in rows},
    }
