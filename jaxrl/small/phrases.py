"""Tokenizers whose tokens are the phrases that an environment repeats.

An episode is short then, and what has to be learnt is what belongs where.
"""

import re
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"


def phrase_tokenizer(
    phrases: Iterable[str], marks: Sequence[str], chat_template: str
) -> PreTrainedTokenizerFast:
    """Phrases as tokens, the longest first, and single characters for all else.

    Args:
      phrases: May repeat, and be empty.
      marks: Special tokens of the chat template.
      chat_template: Of the tokenizer.
    """
    texts = sorted({*phrases} - {""}, key=lambda text: (-len(text), text))
    characters = [chr(code) for code in range(32, 127)] + ["\n", "\t"]
    words = dict.fromkeys([PAD, EOS, UNKNOWN, *marks, *texts, *characters])
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN)
    )
    # Of several alternatives, the first is taken: the longest.
    pattern = "|".join([*map(re.escape, texts), "(?m:.)"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        additional_special_tokens=[*marks],
        chat_template=chat_template,
    )
