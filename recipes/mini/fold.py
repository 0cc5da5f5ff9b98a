"""How does an autoencoder get fewer latent channels without changing its images?

python -m recipes.mini.fold FOLDER TARGET CHANNELS

Where its latents vary in fewer directions than it has channels, a rotation to these directions is
folded into the layers beside the latents; nothing is trained.  So the 16 channels of the one that
`benchmarks/mini_autoencoder_gpu.py` made became the 12 of mini's.
"""

import sys

import numpy as np
import torch
from diffusers import AutoencoderKL

from recipes.mini.losses import to_images
from tvhelpers import flats


def fold(vae: AutoencoderKL, pixels: np.ndarray, channels: int) -> AutoencoderKL:
    """Return the autoencoder with latents (N, channels, h, w), their principal components on
    `pixels` uint8 (N, H, W, 3), of mean 0 and mean variance 1; the largest comes first.

    Images change by what the other components held.  Log variances become constants.
    """
    mean, logvar = _moments(vae, pixels)
    centre = mean.mean((0, 2, 3))
    columns = (mean - centre[:, None, None]).transpose(0, 1).flatten(1).double()
    values, vectors = torch.linalg.eigh(columns @ columns.T / columns.shape[1])
    kept, scale = vectors.flip(1)[:, :channels].float(), values.flip(0)[:channels].mean().sqrt()
    to_new, to_old = kept.T / scale.float(), kept * scale.float()
    noise = to_new.square() @ logvar.exp().mean((0, 2, 3))
    config = {**vae.config, "latent_channels": channels, "scaling_factor": 1.0}
    folded = AutoencoderKL(**{k: v for k, v in config.items() if not k.startswith("_")}).eval()
    own = folded.state_dict()
    same = {k: v for k, v in vae.state_dict().items() if v.shape == own[k].shape}
    before = _encoder_side(vae, to_new, centre, noise.log())
    folded.load_state_dict({**same, **before, **_decoder_side(vae, to_old, centre)})
    return folded


@torch.no_grad()
def _moments(vae: AutoencoderKL, pixels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return means and log variances (N, c, h, w)."""
    batches = np.array_split(pixels, len(pixels) // 16 + 1)
    found = [vae.quant_conv(vae.encoder(to_images(batch, vae))) for batch in batches]
    return torch.cat(found).chunk(2, 1)


def _encoder_side(vae, to_new, centre, logvar) -> dict[str, torch.Tensor]:
    """Return encoder.conv_out and quant_conv whose means are to_new @ (means - centre)."""
    last, quant, half = vae.encoder.conv_out, vae.quant_conv, len(centre)
    channels = len(to_new)
    weight = torch.zeros(2 * channels, *last.weight.shape[1:])
    turn = to_new @ quant.weight[:half, :, 0, 0]
    weight[:channels] = torch.einsum("nc,cihw->nihw", turn, last.weight)
    bias = turn @ last.bias + to_new @ (quant.bias[:half] - centre)
    return {
        "encoder.conv_out.weight": weight,
        "encoder.conv_out.bias": torch.cat([bias, logvar]),
        **_identity("quant_conv", 2 * channels),
    }


def _decoder_side(vae, to_old, centre) -> dict[str, torch.Tensor]:
    """Return post_quant_conv and decoder.conv_in that expect latents of the new channels.

    A constant that no new latent gives goes into conv_in's bias: there it counts at the border too.
    """
    quant, first = vae.post_quant_conv, vae.decoder.conv_in
    turn = quant.weight[:, :, 0, 0] @ to_old
    constant = quant.weight[:, :, 0, 0] @ centre + quant.bias
    shift = torch.linalg.lstsq(turn, constant[:, None]).solution[:, 0]
    rest = torch.einsum("oihw,i->o", first.weight, constant - turn @ shift)
    identity = _identity("post_quant_conv", len(shift))
    return {
        **identity,
        "post_quant_conv.bias": shift,
        "decoder.conv_in.weight": torch.einsum("oihw,ic->ochw", first.weight, turn),
        "decoder.conv_in.bias": first.bias + rest,
    }


def _identity(name: str, channels: int) -> dict[str, torch.Tensor]:
    weight = torch.eye(channels)[:, :, None, None]
    return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(channels)}


@torch.no_grad()
def main() -> None:
    folder, target, channels = sys.argv[1:]
    drawn = [flats.render(flats.shop_spec(823, i), 823, i) for i in range(256)]
    vae = AutoencoderKL.from_pretrained(folder).float().eval()
    fold(vae, np.stack(drawn), int(channels)).half().save_pretrained(target)


if __name__ == "__main__":
    main()
