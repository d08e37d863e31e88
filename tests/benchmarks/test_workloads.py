"""The workloads are what the results say they are."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from benchmarks.checkpoint import write_checkpoint
from benchmarks.workloads import EOS, PAD, WORKLOADS, product_flops


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_batch_has_the_prompts_of_the_workload_and_repeats_exactly(name):
    work = WORKLOADS[name]
    batch = work.batch(3)
    assert [len(prompt) for prompt in batch] == [work.prompt_tokens] * work.prompts
    assert batch == work.batch(3)
    assert batch != work.batch(4)
    assert all(work.phase(prompt[-1]) == 0 for prompt in batch)
    assert not {PAD, EOS} & {token for prompt in batch for token in prompt}


def test_every_class_of_tokens_of_l_is_inhabited_and_the_last_has_seventy():
    work = WORKLOADS["L"]
    phases = [work.phase(token) for token in range(2, work.vocabulary)]
    counts = [phases.count(phase) for phase in range(work.phases)]
    assert counts[-1] == 70
    assert min(counts) > 60
    assert sum(counts) == work.vocabulary - 2


def test_the_tokenizer_reads_a_prompt_as_the_tokens_that_were_meant(tmp_path):
    work = WORKLOADS["S"]
    tokenizer = AutoTokenizer.from_pretrained(write_checkpoint(work, tmp_path))
    assert tokenizer(work.texts(0))["input_ids"] == work.batch(0)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (PAD, EOS)


def test_marks_lead_from_each_class_to_the_next_and_only_the_last_to_the_end(tmp_path):
    work = WORKLOADS["L"]
    tensors = load_file(write_checkpoint(work, tmp_path) / "model.safetensors")
    embedding = tensors["model.embed_tokens.weight"][:, : work.phases]
    logits = embedding @ tensors["lm_head.weight"][:, : work.phases].T
    phases = [work.phase(token) for token in range(work.vocabulary)]
    for token in range(2, work.vocabulary):
        likely = set(np.flatnonzero(logits[token] == logits[token].max()))
        following = min(phases[token] + 1, work.phases - 1)
        expected = {t for t, phase in enumerate(phases) if phase == following}
        if phases[token] == work.phases - 1:
            expected.add(EOS)
        assert likely == expected


def test_the_products_of_s_are_counted_by_hand():
    # Per token and layer: q 256x256, k and v 256x128, o 256x256, three of 256x768.
    products = 2 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 768)
    sampled, prompt = 64 * 128, 8 * 64
    scores = 4 * 256 * (sampled * (64 + 64) + prompt * 32)
    forward = 4 * (products * (sampled + prompt) + scores) + 2 * 256 * 1024 * sampled
    assert product_flops(WORKLOADS["S"], sampled) == 4 * forward
