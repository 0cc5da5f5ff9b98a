"""What tests of the prompt studio share: a sampler that draws at once, and can fail."""

import hashlib
import json
from dataclasses import replace
from functools import cached_property

from PIL import Image

from tvhelpers.errors import InputError
from tvhelpers.files import file_sha256
from tvhelpers.lora.find import find_adapter
from tvhelpers.models.base import find_base
from tvhelpers.models.vocabulary import read_vocabulary, remark

VOLATILE = ("versions", "file", "favourite", "label")


def expected(record):
    """The pixels that a `FakeSampler` draws from a record."""
    own = {key: value for key, value in record.items() if key not in VOLATILE}
    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).digest()
    return Image.frombytes("RGB", (2, 5), digest[:30])


class FakeSampler:
    """Draws an image that is a function of its record; `at_step` is called after each step."""

    name, base, loaded, classes = "mini", find_base("mini"), True, None

    def __init__(self, adapter="none", at_step=lambda sampler, step: None, fast=False):
        self.adapter, self.at_step = find_adapter(self.base, adapter), at_step
        self.fast, self.default_guidance = fast, 1.0 if fast else 2.5

    @cached_property
    def identity(self):
        who = {"base": "mini", "adapter_sha256": self.adapter and file_sha256(self.adapter)}
        return {**who, "fast_sha256": "of the fast one"} if self.fast else who

    @property
    def pipe(self):
        if self.adapter and self.adapter.parent.name == "of-another-base":
            raise InputError("adapter-unfit.sizes", path=self.adapter, base="mini", name="to_q")

    def with_adapter(self, adapter, fast=False):
        return FakeSampler(adapter, self.at_step, fast)

    def unload(self):
        """Nothing is loaded."""

    def with_defaults(self, request):
        return replace(
            request, guidance=request.guidance or self.default_guidance, size=request.width or 128
        )

    def unseen(self, prompt):
        return remark("mini", read_vocabulary(self.base, True).unseen(prompt))

    def cut_off(self, prompt):
        return " ".join(prompt.split()[75:])

    def preview(self):
        return Image.new("RGB", (2, 5))

    def sample(self, request, jobs=None, on_step=None):
        for index, prompt, seed in jobs or request.jobs():
            for step in range(1, request.steps + 1):
                self.at_step(self, step)
                on_step(step)
            settings = self.with_defaults(request).settings()
            record = {"prompt": prompt, "seed": seed, **settings, **self.identity}
            yield index, prompt, seed, expected(record)
