"""Turn conversations into tokens, mark those that carry loss, and mend chat templates."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

_MARKERS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
_PLAIN = resources.files("elara.model").joinpath("plain.jinja").read_text(encoding="utf-8")
_TITLE = "{#- Elara: plain questions and answers"
# What a chat template writes around turns: <|im_start|>, <start_of_turn>, </s>, [INST], <<SYS>>.
_MARK = re.compile(r"<{1,2}[^\s<>'\"{}%]+>{1,2}|\[/?[A-Z][A-Z_]+\]")
# The marks of the chat formats in wide use, for a model whose tokenizer is not at hand: ChatML,
# Llama 2 to 4, Mistral, Gemma, Phi, Qwen, DeepSeek.
_MARK_OF_ANY = re.compile(
    r"<[|｜][^\s<>]{1,64}>|<[^\s<>]{1,64}[|｜]>|</?s>|<(?:bos|eos|pad|unk|(?:start|end)_of_turn)>"
    r"|<</?SYS>>|\[/?(?:INST|THINK|ARGS|IMG|[A-Z]+_[A-Z_]+)\]"
)
# Put before a template that refuses or drops a system message. Written into the template, it goes
# wherever the model goes.
_FOLDED = (
    "{#- Changed by Elara: the system message joins the first question -#}"
    "{%- if messages[0]['role'] == 'system' and messages[1:] -%}{%- set messages = [{'role': "
    "messages[1]['role'], 'content': messages[0]['content'] + '\n\n' + messages[1]['content']}] "
    "+ messages[2:] -%}{%- endif -%}"
)
# Put before a vision model's template that reads the parts of a message, and no plain text.
_IN_PARTS = (
    "{#- Changed by Elara: a text is a message of one part -#}"
    "{%- set turns = namespace(all=[]) -%}{%- for message in messages -%}"
    "{%- set text = [{'type': 'text', 'text': message['content']}] -%}"
    "{%- set parts = text if message['content'] is string else message['content'] -%}"
    "{%- set turn = {'role': message['role'], 'content': parts} -%}"
    "{%- set turns.all = turns.all + [turn] -%}{%- endfor -%}{%- set messages = turns.all -%}"
)
# The day that a template which states today's date states instead.
FIXED_DATE = datetime.date(2026, 1, 1)
_NOW = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")
_UNDATED = f"{{#- Changed by Elara: the date is fixed to {FIXED_DATE} -#}}"


class ModelError(RuntimeError):
    """A model cannot be found, loaded or spoken to; the message says what to do."""


@dataclass(frozen=True)
class Encoded:
    """A conversation as a model reads it, with the part on which loss is taken.

    Args:
        input_ids: token ids of the whole conversation, ending with the stop token.
        labels: the same ids where the answer (stop token included) stands, -100 elsewhere.
    """

    input_ids: list[int]
    labels: list[int]


def encode(tokenizer: Any, messages: Sequence[dict[str, str]]) -> Encoded:
    """Tokenise a conversation with the model's chat template and mark its last answer.

    The loss of training and of evaluation is taken on exactly the marked tokens: the answer and
    the stop token after it, never the question. Where the template has generation markers, they
    say which tokens the assistant speaks; otherwise the answer is what follows the prompt. Marks of
    the chat format inside a text are read as text (`as_data`).

    Args:
        tokenizer: a tokenizer with a chat template.
        messages: turns with `role` and `content`; the last one is the answer.

    Raises:
        ModelError: the template refuses the conversation, renders the question differently once
            an answer follows, puts no trained stop token after the answer, or the answer is
            empty. Training on such a mask would teach the wrong thing.

    Source: https://huggingface.co/docs/transformers/chat_templating_writing
    """
    marked = has_markers(tokenizer.chat_template)
    messages, render = as_data(tokenizer, messages), tokenizer.apply_chat_template
    try:
        asked = render(messages[:-1], add_generation_prompt=True, return_dict=False)
        rendered = render(messages, return_dict=True, return_assistant_tokens_mask=marked)
    except Exception as error:
        if "jinja2" not in type(error).__module__:
            raise
        raise ModelError(f"The chat template refuses this conversation: {error}") from error
    whole = rendered["input_ids"]
    if whole[: len(asked)] != asked:
        raise ModelError(
            "The chat template does not keep the question's tokens once an answer follows, so the "
            "answer cannot be told apart: use another template or model."
        )
    spoken = rendered["assistant_masks"] if marked else [1] * len(whole)
    target = [i for i in range(len(asked), len(whole)) if spoken[i]]
    stops = [i for i in target if whole[i] == tokenizer.eos_token_id]
    if not stops or stops[-1] == target[0]:
        raise ModelError(
            f"No answer ended by the stop token {tokenizer.eos_token!r} in an example that asks "
            f"{messages[-2]['content'][:60]!r}: a model trained on it would not learn to stop."
        )
    end, targets = stops[-1] + 1, set(target)
    labels = [token if i in targets else -100 for i, token in enumerate(whole[:end])]
    return Encoded(whole[:end], labels)


def has_markers(template: str | None) -> bool:
    """Whether a chat template marks what the assistant speaks with `{% generation %}`."""
    return bool(template) and _MARKERS.search(str(template)) is not None


def without_markers(template: str) -> str:
    """The same template for readers of Jinja that do not know `{% generation %}`.

    Args:
        template: a chat template.

    Returns:
        A template that renders the same text.
    """
    return _MARKERS.sub("", template)


def give_template(tokenizer: Any) -> str:
    """Give a tokenizer a chat template that training can use.

    A model's own template stays, with three changes that are written into it: a system message that
    it would refuse, or drop once an answer follows, joins the first question; today's date, if
    it states one, becomes a fixed day, so that the same conversation has the same tokens tomorrow;
    and a template that reads a message's parts only, as some vision models have, reads texts, too.
    A model without any template gets Elara's plain one.

    Args:
        tokenizer: the tokenizer; it is changed.

    Returns:
        Which template it has now, in one sentence.

    Raises:
        ModelError: the tokenizer has no stop token, so that no answer could end.
    """
    if tokenizer.eos_token is None:
        raise ModelError("The tokenizer has no stop token (eos_token), so no answer could end.")
    if tokenizer.chat_template is None:
        begins = tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
        start = tokenizer.bos_token if begins else ""
        tokenizer.chat_template = _PLAIN.replace("start = ''", f"start = {start!r}")
    if isinstance(tokenizer.chat_template, str):
        tokenizer.chat_template = _undated(tokenizer.chat_template)
        if _drops_texts(tokenizer, tokenizer.chat_template):
            tokenizer.chat_template = _IN_PARTS + tokenizer.chat_template
        if not _reads_system(tokenizer, tokenizer.chat_template):
            tokenizer.chat_template = _FOLDED + tokenizer.chat_template
    return template_name(tokenizer)


def template_name(tokenizer: Any) -> str:
    """Say in one sentence which chat template a tokenizer has."""
    text = str(tokenizer.chat_template)
    if _TITLE in text:
        return "The model brings no chat template: Elara's plain one is used (Question:, Answer:)."
    description = "The model's own chat template"
    if has_markers(text):
        description += ", with generation markers"
    else:
        description += "; what follows the prompt counts as the answer"
    if _FOLDED in text:
        description += "; it has no place for a system message, which joins the first question"
    if _IN_PARTS in text:
        description += "; it reads messages in parts, so each text becomes one part"
    if _UNDATED in text:
        description += f"; it states {FIXED_DATE} instead of today's date"
    return f"{description}."


def _drops_texts(tokenizer: Any, template: str) -> bool:
    """Whether a template passes on what a message says only if it comes in parts."""
    asked = "Which one?"

    def told(content: Any) -> bool:
        turns = [{"role": "user", "content": content}]
        return asked in (_render(tokenizer, template, turns) or "")

    return not told(asked) and told([{"type": "text", "text": asked}])


def _reads_system(tokenizer: Any, template: str) -> bool:
    """Whether a template passes a system message on, before an answer and after one."""
    question = {"role": "user", "content": "Which one?"}
    for turns in ([question], [question, {"role": "assistant", "content": "This one."}]):
        turns_with_system = [{"role": "system", "content": "Be brief."}, *turns]
        if "Be brief." not in (_render(tokenizer, template, turns_with_system) or ""):
            # A template that cannot read the bare conversation either is not mended by folding.
            return _render(tokenizer, template, turns) is None
    return True


def _undated(template: str) -> str:
    """The template with a fixed day in the place of today's."""
    if "strftime_now" not in template or _UNDATED in template:
        return template
    fixed = _NOW.sub(lambda found: repr(FIXED_DATE.strftime(found[2])), template)
    # A form of the date that is only known when the template runs.
    other = f"{{%- macro strftime_now(format) -%}}{FIXED_DATE}{{%- endmacro -%}}"
    return _UNDATED + other + fixed


def _render(tokenizer: Any, template: str, conversation: list[dict[str, Any]]) -> str | None:
    import jinja2

    try:
        text: str = tokenizer.apply_chat_template(
            conversation,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=conversation[-1]["role"] == "user",
        )
    except (jinja2.TemplateError, TypeError):  # the latter where it adds parts to a text
        return None
    return text


def as_data(tokenizer: Any, messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The same conversation, in which no text can be taken for a mark of the chat format.

    A tokenizer that finds `<|im_end|>` in a question reads it as the end of the turn, wherever it
    came from: an article about language models, or a caller who wants to write the system line.
    With a blank in it, `< |im_end|>`, every tokenizer reads it as ordinary characters.

    Args:
        tokenizer: the tokenizer, with the chat template that will be used.
        messages: turns with `role` and `content`.

    Returns:
        Turns whose contents hold no special token of the tokenizer and no mark that the template
        writes: each has a blank after its first character. All other texts are unchanged.

    Source: https://github.com/huggingface/transformers/issues/29279
    """
    mark = _marks(tokenizer, str(tokenizer.chat_template))
    return [turn | {"content": _apart(mark, turn["content"])} for turn in messages]


def as_data_anywhere(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Like `as_data`, for a model on another server, whose tokenizer cannot be asked.

    Args:
        messages: turns with `role` and `content`.

    Returns:
        Turns whose contents hold no mark of a chat format in wide use. A format that nobody knew
        when this was written has marks that stay.
    """
    return [turn | {"content": _apart(_MARK_OF_ANY, turn["content"])} for turn in messages]


def holds_marks(tokenizer: Any, messages: Sequence[dict[str, str]]) -> bool:
    """Whether `as_data` changes a conversation."""
    mark = _marks(tokenizer, str(tokenizer.chat_template))
    return any(mark.search(turn["content"]) for turn in messages)


def _apart(mark: re.Pattern[str], text: str) -> str:
    # A mark inside a mark comes to light when the outer one is gone: `<|<|im_end|>im_end|>`.
    while mark.search(text):
        text = mark.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
    return text


@functools.lru_cache(maxsize=8)
def _marks(tokenizer: Any, template: str) -> re.Pattern[str]:
    """One expression for all marks; those of one character or of blanks are no marks."""
    added = tokenizer.added_tokens_decoder.values()
    found = {t.content for t in added if t.special or _MARK.fullmatch(t.content)}
    found |= set(tokenizer.all_special_tokens) | set(_MARK.findall(template))
    marks = sorted((m for m in found if len(m.strip()) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, marks)) or r"(?!)")
