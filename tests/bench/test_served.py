"""A policy of our own behind our own server plays Silo-Bench."""

import json

import pytest

from jaxrl.bench.silo_tables import rows_in
from jaxrl.cli import OK, main
from jaxrl.quickstart import write_policy
from jaxrl.serve.main import Options, prepare
from jaxrl.small.silo import ARCHITECTURE, small_tokenizer
from tests import tiny
from tests.serve.served import running

AGENTS, ROUNDS, LONGEST = 3, 2, 4
OPTIONS = Options(model="small", port=0, max_tokens=LONGEST, concurrency=4, queue=12)


def read_tokens(tokenizer, messages):
    """How many tokens an agent read for all of its replies."""
    asked = [messages[:i] for i, m in enumerate(messages) if m["role"] == "assistant"]
    texts = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, tokenize=False
    )
    return sum(len(tokenizer.encode(text)) for text in texts)


@pytest.mark.slow
def test_a_served_policy_plays_to_a_report(tmp_path):
    tokenizer = small_tokenizer()
    write_policy(tmp_path / "policy", ARCHITECTURE, tokenizer, seed=0)
    with tiny.cached_compilation():
        server = prepare(tmp_path / "policy", OPTIONS)
    matrix = ("--tasks", "I-04", "--agents", f"{AGENTS}", "--protocols", "bp")
    rules = ("--wire", "text", "--rounds", f"{ROUNDS}", "--transcripts")
    with running(server) as address:
        asked = ("--server.url", f"{address}/v1", "--server.model", "small")
        words = ("--output", str(tmp_path / "bench"), *matrix, *rules, *asked)
        assert main(["bench", "silo", *words, "--server.seed", "3"]) == OK
    [row] = rows_in(tmp_path / "bench")
    assert (row.label, row.failure, row.cost["rounds"]) == ("small", None, ROUNDS)
    [transcript] = (tmp_path / "bench").rglob("*.transcript")
    conversations = json.loads(transcript.read_text())["messages"]
    said = sum(m["role"] == "assistant" for each in conversations for m in each)
    assert said == AGENTS * ROUNDS
    assert said <= row.cost["completion_tokens"] <= said * LONGEST
    read = sum(read_tokens(tokenizer, each) for each in conversations)
    assert row.cost["prompt_tokens"] == read
    assert "| small | bp |" in (tmp_path / "bench" / "report.md").read_text()
