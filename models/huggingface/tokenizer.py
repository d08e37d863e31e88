"""The tokenizer of a checkpoint directory."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from models.huggingface.errors import CheckpointError

# Any of these is a whole vocabulary.
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")

# What may belong to a tokenizer; which of them exist depends on who wrote it.
TOKENIZER_FILES = (
    *VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)


def check_tokenizer(path: Path) -> None:
    """Raise a `CheckpointError` unless the directory holds a tokenizer."""
    if not path.is_dir():
        raise CheckpointError(path, "there is no such directory")
    if not any((path / name).is_file() for name in VOCABULARIES):
        raise CheckpointError(
            path, f"it holds no tokenizer: none of {', '.join(VOCABULARIES)}"
        )


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint directory."""
    path = Path(path)
    check_tokenizer(path)
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True)
    except Exception as error:  # Bare exceptions come out of the tokenizers library.
        raise CheckpointError(path, f"its tokenizer cannot be read: {error}") from error
