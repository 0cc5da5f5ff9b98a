"""Is a prompt valid, and which parts of it have no effect here?"""

import re
import unicodedata
from collections.abc import Iterable

from tvhelpers.errors import InputError, in_words

TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF}  # marks of direction, BOM
# Syntax of A1111, ComfyUI, InvokeAI and Midjourney: weights, alternatives, files, parameters.
# The possessive quantifiers (++, *+) keep the search fast in a long prompt.
SYNTAX = re.compile(
    r"<\w+:[^<>]*>|\bembedding:[\w./-]+|\([^()]*:\s*+[-+]?[\d.]++\s*+\)"
    r"|(?<!\()\(\(++[^()]*+\)\)++|\[[^][]*\]|\{[^{}|$]*+[|$][^{}]*+\}|__[\w/-]+__"
    r"|(?<![\w)])[\w)]++(?:\+\+|--)\+*-*(?=[\s,.]|$)"
    r"|(?<!\S)--(?:ar|v|no|q|s|seed|style|stylize|niji|chaos|iw|tile)\b(?: [^\s-]\S*)?"
    r"|::-?[\d.]+|\.(?:blend|and|swap)\("
)
WORDS = re.compile(r"(?<!\S)(?:AND|BREAK)(?!\S)")  # unless the whole prompt is in capitals


def check_prompt(prompt: str) -> str:
    """Return a prompt; raises InputError where it has no visible character, or one that text cannot
    have: control characters, bytes that are not UTF-8, marks of writing direction."""
    if not any(letter.isprintable() and not letter.isspace() for letter in prompt):
        raise InputError("no-prompt.blank")
    for place, letter in enumerate(prompt, 1):
        control = unicodedata.category(letter) == "Cc" and not letter.isspace()
        if control or ord(letter) in TURNING or "\ud800" <= letter <= "\udfff":
            raise InputError("prompt-letter", place=place, prompt=prompt, letter=letter)
    return prompt


def is_prompt(text: str) -> bool:
    """Return whether a text can be a prompt."""
    try:
        return bool(check_prompt(text))
    except InputError:
        return False


def remarks(prompts: Iterable[str]) -> list[str]:
    """Return warnings on what the prompts hold without effect: syntax of other programs, and line
    breaks."""
    prompts, said = list(prompts), []
    if found := list(dict.fromkeys(one for prompt in prompts for one in syntax_of(prompt))):
        said.append(
            f"in a prompt, {in_words(found, 'and')} of other programs has no effect here; use "
            "--adapter FILE and --lora-scale X for an adapter, and plain words for the rest"
        )
    if lines := next((one for one in prompts if len(one.strip().splitlines()) > 1), ""):
        what = f"prompt {in_words(lines)} has several lines, but counts as one prompt"
        said.append(f"{what}; put each prompt into quotes of its own")
    return said


def remarks_on(sampler, request) -> list[str]:
    """Return what is to be said before the images of a `Request` are drawn: of a size far above the
    base's own, of prompts that are truncated, of what has no effect and, except in a suite, of
    words that the base has never seen.  Loads the base."""
    said = remarks([*request.prompts, request.negative_prompt])
    largest, own = max(request.width, request.height), sampler.default_size
    if largest > 2 * own:
        what = f"size {largest} is far above the {own} pixels that {sampler.base.name} was made for"
        said.append(f"{what}: garments are repeated or fall apart")
    if request.negative_prompt and sampler.with_defaults(request).guidance == 1:
        said.append("at guidance scale 1 the negative prompt has no effect; use a larger one")
    texts = " ".join([*request.prompts, request.negative_prompt]).lower()
    if unused := [one.word for one in sampler.embeddings if one.word.lower() not in texts]:
        said.append(f"no prompt has {in_words(unused, 'or')}, the word of --embedding; write it")
    limit = sampler.pipe.tokenizer.model_max_length
    for prompt in request.prompts:
        if not request.ids and (unseen := sampler.unseen(prompt)):
            said.append(f"prompt {in_words(prompt)}: {unseen}")
        if cut := sampler.cut_off(prompt):
            what = f"has over {limit} tokens; its end is ignored: {in_words(cut)}"
            said.append(f"prompt {in_words(prompt)} {what}")
    return said


def syntax_of(prompt: str) -> list[str]:
    """Return the signs of other programs in a prompt, such as "(red:1.3)"; they have no effect."""
    words = [] if prompt.isupper() else WORDS.findall(prompt)
    return [*SYNTAX.findall(prompt), *words]
