"""How is a CLIP fine-tuned on captioned images without losing what it knew?

Every caption that is true of an image is its positive (UniCL, Yang et al. 2022); a large batch is
computed in small pieces (GradCache, Gao et al. 2021); LoRA, early stopping on the validation loss,
then interpolation with the pretrained weights (WiSE-FT, Wortsman et al. 2022).
"""

import hashlib
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from tvhelpers.data.sources import Source
from tvhelpers.errors import InputError
from tvhelpers.files import atomic_dir
from tvhelpers.models.clip import Clip
from tvhelpers.models.clip_checks import phrases, zero_shot
from tvhelpers.progress import progress_bar
from tvhelpers.records import claimed, write_json
from tvhelpers.runtime import seed_for
from tvhelpers.train.checkpoint import load_checkpoint, save_checkpoint
from tvhelpers.train.clip_pairs import Pairs, pairs_of, train_and_validation
from tvhelpers.train.clip_settings import ClipTuning
from tvhelpers.train.optim import rate_factor

LORA_TARGETS = r".*(q_proj|k_proj|v_proj|out_proj|fc1|fc2|visual_projection|text_projection)"
MAX_SCALE = 100.0  # of the logits, as in CLIP's training
SHARES = [tenth / 10 for tenth in range(11)]  # of the change of the weights, tried by `trade_off`

Weights = dict[str, torch.Tensor]


def tune_clip(
    clip: Clip, train: Pairs, validation: Pairs, config: ClipTuning, out: Path
) -> tuple[dict, Weights]:
    """Tune `clip` in place and return (result, its weights before).

    The weights with the least validation loss are kept.  `out` holds checkpoints: the same call
    resumes, with the same result as an uninterrupted one.  Raises InputError if `out` holds another
    tuning (other settings, another CLIP or other pairs), or if the loss is not finite.
    """
    with _claimed(clip, train, validation, config, Path(out)):
        return _tune(clip, train, validation, config, Path(out))


def _claimed(clip: Clip, train: Pairs, validation: Pairs, config: ClipTuning, out: Path):
    """Hold the lock of a tuning's folder within the block (`records.claimed`)."""
    claim = asdict(config) | {"clip": _digest(clip.model)}
    claim |= {"train": train.fingerprint, "validation": validation.fingerprint}
    return claimed(out, claim, "CLIP tuning", "tuning.json")


def _tune(
    clip: Clip, train: Pairs, validation: Pairs, config: ClipTuning, out: Path
) -> tuple[dict, Weights]:
    """Tune as `tune_clip` does, in a folder whose lock this process holds."""
    before = {name: weight.detach().clone() for name, weight in clip.model.state_dict().items()}
    model = _trainable(clip.model, config)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, weight_decay=config.weight_decay)
    state = load_checkpoint(out) or {"step": 0, "curve": [], "kept": None, "weights": None}
    if state["weights"] is not None:
        _load(weights, state["weights"])
        optimizer.load_state_dict(state["optimizer"])
    with progress_bar("tuning", config.steps, done=state["step"], unit="steps") as bar:
        for step in range(state["step"], config.steps + 1):
            due = step % config.eval_steps == 0 or step == config.steps
            if due and step not in (row["step"] for row in state["curve"]):
                _evaluate(state, clip, model, weights, validation, step, config.patience)
                state |= {"step": step, "weights": _copied(weights)}
                state["optimizer"] = optimizer.state_dict()
                save_checkpoint(out, step, state, keep=1)
            if step == config.steps or _stale(state["curve"], config.patience):
                break
            _update(clip, model, optimizer, train, config, step)
            bar.update()
    _load(weights, state["kept"]["weights"])
    if config.method == "lora":
        clip.model = model.merge_and_unload()
    clip.model.eval()
    curve, kept = state["curve"], state["kept"]["step"]
    result = {"steps": curve[-1]["step"], "kept_step": kept, "curve": curve}
    write_json(out / "result.json", result)
    return result, before


def _update(clip: Clip, model, optimizer, train: Pairs, config: ClipTuning, step: int) -> None:
    """Do a step of the optimizer; raises InputError where the loss is not finite."""
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * rate_factor(step, config.steps, config.steps // 10)
    optimizer.zero_grad()
    loss = _step(clip, model, train, config, step)
    if not math.isfinite(loss):
        raise InputError("not-finite.clip", loss=loss, step=step)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    with torch.no_grad():
        clip_scale(model).clamp_(max=math.log(MAX_SCALE))


def tune_on_source(
    source: Source, config: ClipTuning, out: Path, clip: Clip, keep: Source | None = None
) -> dict:
    """Tune `clip` on the items of `source`, write it to out/clip, and return the result.

    The validation items are the source's own, or else a tenth of the products; items of a test
    split are not used.  `keep` is a source whose accuracy must not drop: its training items are
    trained on too, and `trade_off` measures the accuracy on its validation items.  The written
    weights are `config.share` of the way from those before; `Clip(out)` loads them.  Raises
    InputError as `tune_clip` and `Pairs` do, and if the validation items of `keep` have fewer than
    two categories.
    """
    train, validation = train_and_validation(source, config.seed)
    replayed, kept = train_and_validation(keep, config.seed) if keep else ([], [])
    kept = [i for i in kept if "category" in keep.attributes[i]]
    if keep and len({keep.attributes[i]["category"] for i in kept}) < 2:
        raise InputError("too-few-categories", name=keep.name)
    both = pairs_of(clip.size, (source, train), (keep, replayed))
    validation = pairs_of(clip.size, (source, validation))
    kept = pairs_of(clip.size, (keep, kept)) if keep else None
    with _claimed(clip, both, validation, config, Path(out)):
        result, before = _tune(clip, both, validation, config, Path(out))
        best, curve = trade_off(clip, before, validation, kept, config.max_accuracy_drop)
        share = best if config.share < 0 else config.share
        clip.model.load_state_dict(interpolate(clip, before, share))
        result |= {"share": share, "trade_off": curve}
        folder = Path(out) / "clip"
        with atomic_dir(folder, replace=True) as aside:
            clip.save(aside)
        write_json(Path(out) / "result.json", result)
    return {**result, "clip": str(folder)}


def interpolate(clip: Clip, before: Weights, share: float) -> Weights:
    """Return the weights that are `share` (0..1) of the way from `before` to those of `clip`."""
    return {
        name: torch.lerp(before[name], weight, share) if weight.is_floating_point() else weight
        for name, weight in clip.model.state_dict().items()
    }


def trade_off(
    clip: Clip, before: Weights, validation: Pairs, kept: Pairs | None = None,
    max_accuracy_drop: float = 0.0,
) -> tuple[float, list[dict]]:  # fmt: skip
    """Return (the share of the way from `before` with the least validation loss, the curve).

    A row of the curve holds `share`, `held_out_loss` (the validation loss), and `nearness`: the
    mean cosine of the validation images' embeddings to those before.  With `kept` pairs it also
    holds `kept`, their zero-shot accuracy by category, and only shares are chosen at which that
    is at most `max_accuracy_drop` (0..1) lower than before.
    """
    after = {name: weight.clone() for name, weight in clip.model.state_dict().items()}
    curve, first = [], None
    for share in SHARES:
        clip.model.load_state_dict(after)
        clip.model.load_state_dict(interpolate(clip, before, share))
        loss, images = _loss_of(clip, validation)
        first = images if first is None else first
        nearness = float((images * first).sum(1).mean())
        curve.append({"share": share, "held_out_loss": loss, "nearness": nearness})
        if kept:
            curve[-1]["kept"] = _accuracy(clip, kept)
    clip.model.load_state_dict(after)
    rows = [row for row in curve if not kept or row["kept"] >= curve[0]["kept"] - max_accuracy_drop]
    return min(rows, key=lambda row: row["held_out_loss"])["share"], curve


def _accuracy(clip: Clip, pairs: Pairs) -> float:
    """Return the zero-shot accuracy (0..1) by category."""
    texts = phrases(pairs.attributes, "category")
    seen = zero_shot(clip, clip.encode_images(pairs.pixels), texts)
    correct = [row["category"] == word for row, word in zip(pairs.attributes, seen, strict=True)]
    return float(np.mean(correct))


@torch.no_grad()
def _loss_of(clip: Clip, pairs: Pairs) -> tuple[float, torch.Tensor]:
    """Return the loss of all pairs at once, and the unit embeddings (N, d) of the images."""
    images = clip.encode_images(pairs.pixels)
    texts = clip.encode_texts(pairs.captions, batch_size=64)
    scale, fits = clip_scale(clip.model).exp().cpu(), pairs.fits(torch.arange(len(images)))
    return contrastive_loss(images, texts, scale, fits).item(), images


def backward_in_pieces(encode: Callable, loss_of: Callable, count: int, size: int) -> float:
    """Add the gradients of a loss over `count` pairs with a graph of only `size` pairs at a time.

    `encode(slice)` returns the embeddings (n, d) of images and of texts, `loss_of(images, texts)`
    the loss of all.  All pairs are embedded without a graph, the loss gives the gradient of each
    embedding, and each piece is then encoded again with a graph and propagates that gradient.
    Returns the loss.
    """
    pieces = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    with torch.no_grad() if len(pieces) > 1 else nullcontext():
        parts = [encode(piece) for piece in pieces]
    images, texts = (torch.cat(side) for side in zip(*parts, strict=True))
    if len(pieces) == 1:
        loss = loss_of(images, texts)
        loss.backward()
        return loss.item()
    images, texts = images.requires_grad_(), texts.requires_grad_()
    loss = loss_of(images, texts)
    loss.backward()
    for piece in pieces:
        sides = encode(piece)
        torch.autograd.backward(sides, (images.grad[piece], texts.grad[piece]))
    return loss.item()


def clip_scale(model) -> torch.nn.Parameter:
    """Return the logarithmic logit scale of a CLIPModel, which may be inside an adapter."""
    return next(weight for name, weight in model.named_parameters() if name.endswith("logit_scale"))


def _step(clip: Clip, model, train: Pairs, config: ClipTuning, step: int) -> float:
    generator = torch.Generator().manual_seed(seed_for(config.seed, "clip", step))
    count = min(config.batch_size, len(train.captions))
    rows = torch.randperm(len(train.captions), generator=generator)[:count]
    theta = _variation(count, generator)
    captions = [train.captions[i] for i in rows.tolist()]
    fits = train.fits(rows) if config.positives == "fits" else torch.eye(count)

    def encode(piece):  # augmented here: the whole batch as floats would need much memory
        images = torch.from_numpy(train.pixels[rows[piece].numpy()])
        return clip.embed_images(_moved(images, theta[piece])), clip.embed_texts(captions[piece])

    def loss_of(images, texts):
        return contrastive_loss(images, texts, clip_scale(model).exp(), fits.to(images.device))

    return backward_in_pieces(encode, loss_of, count, config.micro_batch)


def contrastive_loss(images, texts, scale, fits: torch.Tensor) -> torch.Tensor:
    """Return the mean of both directions' cross-entropies of unit embeddings (N, d).

    `fits` (N, N) is 1 where caption i is true of image j: those share the target equally.
    """
    logits = scale * texts @ images.T
    return (soft_cross_entropy(logits, fits) + soft_cross_entropy(logits.T, fits.T)) / 2


def soft_cross_entropy(logits: torch.Tensor, fits: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of rows (N, M); targets are spread evenly over `fits` (0 or 1)."""
    return F.cross_entropy(logits.float(), fits / fits.sum(1, keepdim=True).clamp(min=1))


def _variation(count: int, generator: torch.Generator) -> torch.Tensor:
    """Return random affine maps (N, 2, 3): half of them mirror, each crops to 85..100 % a side."""
    scale = 0.85 + 0.15 * torch.rand(count, generator=generator)
    shift = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - scale)[:, None]
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale * flip, scale, shift
    return theta


def _moved(images: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Return images (N, S, S, 3) under affine maps (N, 2, 3), as floats 0..255."""
    nchw = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(theta, list(nchw.shape), align_corners=False)
    moved = F.grid_sample(nchw, grid, padding_mode="border", align_corners=False)
    return moved.permute(0, 2, 3, 1)


@torch.no_grad()
def _evaluate(state: dict, clip, model, weights, pairs: Pairs, step: int, patience: int) -> None:
    """Add the validation loss to the curve, and keep the weights with the least loss, or the newest
    weights where `patience` is 0."""
    model.eval()
    loss, _ = _loss_of(clip, pairs)
    model.train()
    least = min((row["held_out_loss"] for row in state["curve"]), default=math.inf)
    if loss < least or not patience:
        state["kept"] = {"step": step, "weights": _copied(weights)}
    state["curve"].append({"step": step, "held_out_loss": loss})


def _stale(curve: list[dict], patience: int) -> bool:
    losses = [row["held_out_loss"] for row in curve]
    return patience > 0 and len(losses) - 1 - int(np.argmin(losses)) >= patience


def _trainable(model, config: ClipTuning):
    """Return the model ready to train: all weights, or a LoRA adapter and the logit scale."""
    if config.method == "full":
        return model.requires_grad_(True).train()
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed_for(config.seed, "adapter"))
    lora = LoraConfig(r=config.rank, lora_alpha=config.rank, target_modules=LORA_TARGETS)
    adapted = get_peft_model(model.requires_grad_(False), lora)
    clip_scale(adapted).requires_grad_(True)
    return adapted.train()


def _digest(model) -> str:
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(name.encode() + weight.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _copied(weights) -> list[torch.Tensor]:
    return [weight.detach().cpu().clone() for weight in weights]


def _load(weights, values: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)
