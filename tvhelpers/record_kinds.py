"""Which keys does each kind of JSON file that is read again have, and what were their old names?

A schema is a type (`float`: a finite number, `Real`: also NaN), None, a tuple of schemas of which
one must match, [schema of each element], or {key: schema}, where "key?" may be missing and "*"
means every key.  Other keys are allowed, so that files of a later version can be read.
"""

from dataclasses import dataclass, field
from numbers import Real

from tvhelpers.config import FORMER_SETTINGS, FORMER_VALUES


@dataclass(frozen=True)
class Kind:
    """The changes of one kind of record since its first version, and its schema today."""

    renamed: dict[str, str] = field(default_factory=dict)  # {old key: key}
    values: dict[str, dict] = field(default_factory=dict)  # {key: {old value: value}}
    missing: dict = field(default_factory=dict)  # {key: what its absence means}
    keys: dict = field(default_factory=dict)  # a schema of the keys that are read again


SCORED_ATTRIBUTES = "category colour pattern sleeve neckline fabric length waist".split()
LOG = {
    "step": int, "event?": str, "loss?": (float, None), "grad_norm?": (float, None),
    "grad_norm_clipped?": (float, None),
}  # fmt: skip
EVALUATION = {
    "step": int, "validation_loss": Real, "training_slice_loss?": Real,
    "regularization_loss?": Real,
    "by_timestep?": [(Real, None)], "item_losses?": [Real],
}  # fmt: skip
ITEM = {
    "item?": (str, int), "caption": str, "attributes": {"*": str}, "product": str, "split": str,
}  # fmt: skip
IMAGE = {
    "file": str, "prompt": str, "seed?": (int, None), "base?": (str, None),
    "base_files?": str, "prompt_id?": (str, None),
}  # fmt: skip
DRAWN = {
    "prompt": str, "negative_prompt?": str, "seed?": int, "steps?": int, "guidance?": float,
    "lora_scale?": float, "size?": int, "width?": int, "height?": int, "base?": str,
    "base_revision?": str, "base_files?": str, "adapter_sha256?": (str, None), "fast_sha256?": str,
    "text_encoder?": str, "embeddings?": {"*": str},
}  # fmt: skip
ADAPTER = {  # all keys that an adapter may have
    "base?": str, "base_digest?": str, "text_encoder_digest?": str, "data_digest?": str,
    "steps?": int, "rank?": int, "alpha?": float, "targets?": str, "resolution?": int,
    "prediction_type?": str, "scheduler?": {"*": (str, bool)}, "licences?": {"*": str},
    "distill_guidance?": float, "title?": str, "trigger_words?": str, "family?": str,
    "blend?": [{"weight": float, "adapter": {}}],
}  # fmt: skip
STUDY = {
    "key_sha256": str, "title": str, "consent": str, "questions": {"*": str},
    "rules": {"*": float}, "per_rater": int,
    "items": [{
        "id": str, "kind": str, "prompt": str, "references?": [str],
        "pictures": [str],  # stable name
    }],
}  # fmt: skip
STUDY_KEY = {
    "systems": [str], "primary": [str], "items": {"*": [str]}, "expected": {"*": str},
}  # fmt: skip
VOTE = {"trial": int, "item": str, "answer": str, "seconds": float, "at": str}
FIGURE = {"name": str, "value": float, "ci": ([float], None), "n": int}
SUITE_ROW = {
    "id": str, "prompt": str, "seeds": [int], "covered_by": [str], "stratum?": str,
    "swap_of?": (str, None),
    "atoms": [{"garment": int, "attribute": str, "expect": str}],  # stable name
}  # fmt: skip
VOCABULARY = {
    "words": {"*": {"*": int}}, "adapter_words?": {"*": {"*": int}}, "ignored?": [str],
    "nearest?": {"*": str},
}  # fmt: skip

OVER_SEEDS = {"mean": float, "ci": (None, [float]), "values": [float]}

# {kind of record, as named by the callers of `records`: its changes and its schema}
KINDS: dict[str, Kind] = {
    # config.json of a run; `TrainConfig` checks its other settings
    "training": Kind(
        values=FORMER_VALUES,
        missing={
            "keep": "last",
            "patience": 0,
            "sample": 0,
            "distill_guidance": 0.0,
            "title": "",
            "trigger_words": "",
            "trackers": "",
            "noise_offset": 0.0,
            "loss": "l2",
            "huber_c": 0.1,
            "huber_schedule": "snr",
            "regularization": "",
            "regularization_share": 0.25,
            "regularization_weight": 1.0,
            "fit": "pad",
        },
        keys={"steps": int, "data": str},
    ),
    "log": Kind(keys=LOG),  # a line of log.jsonl: a step, or an event
    "step": Kind(keys={"step": int}),  # a line of any log
    "speed": Kind(keys={"step": int, "images_per_second": float, "memory_gb": float}),
    # a line of eval.jsonl
    "evaluation": Kind({"held_out_loss": "validation_loss"}, keys=EVALUATION),
    "result": Kind(),  # result.json of a run
    # figures of one arm and seed, and the results of an experiment
    "arm": Kind(keys={"arm": str, "seed": int, "figures": {"*": (Real, None)}, "curves": {}}),
    "experiment": Kind(
        keys={
            "experiment": str,
            "title": str,
            "claim": str,
            "against": str,
            "figures": [str],
            "base": str,
            "data": str,
            "scale": str,
            "seeds": [int],
            "arms": {"*": {"*": OVER_SEEDS}},
            "differences": {"*": {"*": OVER_SEEDS}},
            "rows?": [{"arm": str, "seed": int, "folders": {"*": str}}],
        }
    ),
    "preset": Kind(values=FORMER_VALUES),  # settings of a training, in a file of the user's
    "search": Kind(),  # request.json of a search, and a trial that has ended
    "trial": Kind(
        keys={"number": int, "params": {}, "state": str, "step": int, "loss": (Real, None)}
    ),
    "adapter": Kind(keys=ADAPTER),  # metadata of an adapter, and of each part of a blend
    "peft settings": Kind(),  # adapter_config.json of peft; `lora.metadata` checks what is used
    "pipeline": Kind(  # base.json of a pipeline
        {"strength": "lora_scale"},  # stable name
        keys={"guidance?": float},
    ),
    # artifacts/digests.json, of checkpoints
    "digests": Kind(keys={"*": {"state": str, "sha256": str}}),
    "places": Kind(keys={"*": str}),  # artifacts/bases.json
    "model index": Kind(keys={"_class_name": str}),  # model_index.json of a pipeline
    # config.json of a pipeline's parts
    "unet": Kind(
        keys={"sample_size": int, "cross_attention_dim": int, "block_out_channels": [int]}
    ),
    "vae": Kind(keys={"block_out_channels": [int]}),
    "latent cache": Kind(  # about.json of cached latents
        keys={"num_items": int, "resolution": int, "scaling_factor": float}
    ),
    "vocabulary": Kind(keys=VOCABULARY),  # vocabulary.json of a base
    # classes.json of a trained pipeline
    "classes": Kind(keys={"attributes": [str], "words": [[str]]}),
    "row": Kind(),  # of a table, whose columns the user explains
    "request": Kind({"strength": "lora_scale"}),  # request.json of images; stable name
    # a line that a captioner wrote, and its request
    "captions": Kind(keys={"item?": str, "caption?": str}),
    "item": Kind(keys=ITEM),  # a line of items.jsonl, beside converted pixels
    "partial download": Kind(  # beside a partly downloaded file
        keys={"url?": str, "version?": (str, None), "total?": (int, None)}
    ),
    # .obtained.json of a downloaded or unpacked data set
    "download": Kind(keys={"archives?": [str]}),
    "image": Kind(keys=IMAGE),  # a line of records.jsonl, a studio's too
    "generated image": Kind(keys={"index": int, **IMAGE}),  # the same, of `generate`
    # the same, as the image itself holds it, or as a studio opens it
    "drawn image": Kind({"strength": "lora_scale"}, keys=DRAWN),  # stable name
    "suite": Kind(keys=SUITE_ROW),  # a line of a prompt suite
    # what `score` writes, of which a model card reads the figures
    "scores": Kind(keys={"folders": [{"dir": str, "n": int, "metrics": [FIGURE]}]}),
    "metrics": Kind(  # what `score` writes, and each object within it
        {
            "reader": "attribute_classifier",
            "known": "calibration",
            "held_out": "validation",
            "left_out": "skipped",  # stable name
            "n_known": "n_calibration",
            "right_where_named": "accuracy_where_named",
            "median_held_out": "median_validation",  # stable name
            "nearer_than_held_out": "nearer_than_validation",  # stable name
            "n_held_out": "n_validation",  # stable name
            "held_out_as_near": "validation_as_near",  # stable name
            "picture": "image",  # stable name
        },
        {
            "calibration": {"flats drawn anew": "fresh flats"},  # stable name
            "name": {
                f"atom:{name}{end}": f"attribute:{name}{end}"  # stable name
                for name in (*SCORED_ATTRIBUTES, "all")
                for end in ("", ", difference")
            },
        },
    ),
    "study": Kind(keys=STUDY),  # study.json
    "study request": Kind(),  # key-request.json of a study
    "conversion": Kind(),  # request.json of converted data
    "CLIP tuning": Kind({**FORMER_SETTINGS, "held_out": "validation"}),  # tuning.json
    "study key": Kind(keys=STUDY_KEY),  # key.json of a study
    # a file of votes from a page for raters
    "votes": Kind(keys={"study": str, "rater": str, "votes": [VOTE]}),
}
