"""How does a base draw the regularization images of its own training?"""

from pathlib import Path

from tvhelpers.sample.gallery import generate
from tvhelpers.sample.request import Request
from tvhelpers.sample.sampler import Sampler


def draw_own(base: str, prompts: list[str], seeds: list[int], device: str, folder: Path) -> None:
    """Draw an image of each prompt from its seed into a gallery, without any adapter; one that was
    stopped resumes."""
    request = Request(tuple(prompts), seeds=tuple((seed,) for seed in seeds))
    generate(Sampler(base, "none", device), request, folder)
