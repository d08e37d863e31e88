"""Silo-Bench from the command line: scripts, a server, resuming, the report."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jaxrl.bench.arguments import SCRIPTS
from jaxrl.bench.silo import BOARDS, Bench, Matrix, Settings
from jaxrl.bench.silo_tables import (
    columns,
    coordination,
    cost,
    mean,
    row_of,
    rows_in,
    score,
    success,
)
from jaxrl.cli import MISTAKE, OK, main
from jaxrl.errors import UserError
from jaxrl.tasks.silo.agents import SCRIPTED
from jaxrl.tasks.silo.prompts import PROMPTS
from tests.rollout.chat_double import MODEL, chatting, said
from tests.tasks.silo.teams import Submitting

TASKS = ("--tasks", "I-01", "II-11", "--agents", "2", "3")


def bench(output, *words):
    return main(["bench", "silo", "--output", str(output), *TASKS, *words])


def results(output):
    return {p: p.read_text() for p in output.rglob("*_n*.json")}


def label_bench(directory, make_agent, settings=None, **options):
    settings = settings or Settings("test")
    return Bench(directory, settings, make_agent, log=lambda line: None, **options)


def test_a_part_of_the_matrix_runs_once(tmp_path, capsys):
    assert bench(tmp_path, "--protocols", "p2p", "sfs", "solo") == OK
    assert "0 of 12 runs are there" in capsys.readouterr().out
    first = results(tmp_path)
    assert len(first) == 12
    last = next(iter(first))
    last.unlink()
    assert bench(tmp_path, "--protocols", "p2p", "sfs", "solo", "bp") == OK
    assert "11 of 16 runs are there" in capsys.readouterr().out
    assert first.items() <= results(tmp_path).items()


def test_the_report_has_every_cell_and_a_picture(tmp_path):
    assert bench(tmp_path, "--protocols", "p2p", "solo") == OK
    assert bench(tmp_path, "--agent", "constant", "--protocols", "p2p") == OK
    report = (tmp_path / "report.md").read_text()
    for heading in (
        "S by level",
        "S by team size",
        "the gap of reasoning",
        "S of a constant guess",
        "Cost of coordination",
        "## Cost",
        "## Failings",
    ):
        assert heading in report
    assert "| optimal | p2p | 1 | 1 | - | 1 |" in report
    assert "| constant | p2p | 0 | 0 | - | 0 |" in report
    assert re.search(r"\| II-11 \| Prefix Sum \| 0 \| 1 \| 1 \|", report)
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    runs = json.loads((tmp_path / "summary.json").read_text())["runs"]
    assert len(runs) == 12


def test_other_settings_need_another_label(tmp_path):
    label_bench(tmp_path, SCRIPTED["star"]).claim()
    label_bench(tmp_path, SCRIPTED["star"]).claim()
    short = label_bench(tmp_path, SCRIPTED["star"], Settings("test", rounds=7))
    with pytest.raises(
        UserError, match=r"has runs with rounds 100; give another label"
    ):
        short.claim()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tasks", "IV"), "tasks has 'IV'"),
        (("--agents", "1"), "agents has 1"),
        (("--agents", "101"), "agents has 101"),
        (("--rounds", "0"), "rounds is 0"),
        (("--label", "../x"), "label is '../x'"),
        (("--server.model", "m"), "server.url is None"),
        (("--server.url", "nowhere", "--server.model", "m"), "server.url is not"),
    ],
)
def test_mistakes_are_said_in_a_line(tmp_path, words, message, capsys):
    assert bench(tmp_path, *words) == MISTAKE
    assert message in capsys.readouterr().err
    assert not results(tmp_path)


def submitting(body, number):
    """What a model says that submits what it is told, in two rounds."""
    rounds = sum(message["role"] == "assistant" for message in body["messages"])
    if not rounds:
        return said("hm", ("a", "wait", "{}"), usage=(100, 10))
    return said(None, ("b", "submit_result", '{"answer": 827}'), usage=(120, 5))


def test_a_model_behind_a_server_plays(tmp_path, capsys):
    words = ("--tasks", "I-01", "--agents", "2", "--protocols", "bp", "--transcripts")
    with chatting(submitting) as chat:
        server = ("--server.url", chat.url, "--server.model", MODEL)
        assert bench(tmp_path, *words, *server, "--server.seed", "3") == OK
        bodies = [body for _, _, body in chat.requests]
    assert len(bodies) == 4
    assert {body["seed"] for body in bodies} == {3}
    names = [tool["function"]["name"] for tool in bodies[0]["tools"]]
    assert names[0] == "broadcast_message"
    (row,) = rows_in(tmp_path)
    assert (row.label, success("compat")(row)) == (MODEL, 1)
    assert (row.cost["rounds"], row.cost["tokens_paper"]) == (2, 15)
    assert row.failings["premature"]
    (transcript,) = tmp_path.rglob("*.transcript")
    roles = [m["role"] for m in json.loads(transcript.read_text())["messages"][0]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool"]


def test_ctrl_c_waits_for_no_server(tmp_path):
    asked, over = threading.Event(), threading.Event()

    def answer(body, number):
        asked.set()
        over.wait(60)
        return said("x")

    with chatting(answer) as chat:
        server = ("--server.url", chat.url, "--server.model", MODEL)
        words = ("bench", "silo", "--output", tmp_path, *TASKS, *server)
        # A shell's background jobs ignore SIGINT, and so do their children.
        heeding = ("env", "--default-signal=INT", sys.executable, "-m", "jaxrl")
        bench = subprocess.Popen([*heeding, *words], stderr=subprocess.DEVNULL)
        assert asked.wait(60)
        bench.send_signal(signal.SIGINT)
        try:
            assert bench.wait(10)
        finally:
            bench.kill()
            bench.wait()
            over.set()


def test_a_refused_run_is_no_result_and_is_tried_again(tmp_path, capsys):
    words = ("--tasks", "I-01", "--agents", "2", "--protocols", "p2p", "bp")

    def refusing(body, number):
        names = [tool["function"]["name"] for tool in body["tools"]]
        if "broadcast_message" in names:
            return 400, {"error": "too long"}
        return submitting(body, number)

    for answer, failed in ((refusing, 1), (submitting, 0)):
        with chatting(answer) as chat:
            server = ("--server.url", chat.url, "--server.model", MODEL)
            assert bench(tmp_path, *words, *server) == OK
        rows = rows_in(tmp_path)
        assert sum(row.failure is not None for row in rows) == failed
        assert columns(rows, {"S": score("fixed", "success_rate")}).count("| 1 |") == (
            2 - failed
        )


class Cut:
    """Agents that are cut off when they have given a number of replies together."""

    left = 0

    def __init__(self, agent):
        self.agent = agent

    async def reply(self, messages, tools):
        type(self).left -= 1
        if type(self).left == 0:
            raise KeyError("cut off")
        return await self.agent.reply(messages, tools)


def test_a_run_that_was_cut_off_goes_on_where_it_stopped(tmp_path):
    cells = [*Matrix(("II-11",), (4,), ("sfs",)).cells(Settings("test"))]
    asyncio.run(label_bench(tmp_path / "whole", SCRIPTED["chain"]).run(cells))

    def cut(seat):
        return Cut(SCRIPTED["chain"](seat))

    Cut.left = 10
    with pytest.raises(KeyError, match="cut off"):
        asyncio.run(label_bench(tmp_path / "cut", cut, save_seconds=0.0).run(cells))
    (state,) = tmp_path.rglob("*.state")
    assert json.loads(state.read_text())["round"] == 3
    Cut.left = 100
    asyncio.run(label_bench(tmp_path / "cut", cut).run(cells))
    assert not state.exists()
    # Of 16 replies, those of the first two rounds were given before.
    assert Cut.left == 100 - (16 - 4 - 3)
    first, second = results(tmp_path / "whole"), results(tmp_path / "cut")
    assert [*first.values()] == [*second.values()]


def test_runs_at_once_give_what_runs_in_turn_give(tmp_path):
    cells = [*Matrix(("I",), (2, 3)).cells(Settings("test"))]
    for count in (1, 7):
        bench = label_bench(tmp_path / f"{count}", SCRIPTED["star"], concurrency=count)
        asyncio.run(bench.run(cells))
    first, second = (results(tmp_path / name) for name in ("1", "7"))
    assert sorted(first.values()) == sorted(second.values())
    assert len(first) == 60


def test_sizes_of_the_paper_come_from_one_stream():
    alone, among = (
        [*Matrix(("I-01",), sizes).cells(Settings("x"))][-1] for sizes in ((5,), (3, 5))
    )
    assert alone.instance == among.instance
    assert alone.instance.expected[0] == 988


@pytest.mark.parametrize("answer", [{"0": 1, "total": 2}, "0x" + "f" * 4000])
def test_an_odd_answer_is_wrong_and_ends_no_bench(tmp_path, answer):
    cells = [*Matrix(("I-01", "II-18"), (2,), ("p2p",)).cells(Settings("test"))]
    bench = label_bench(tmp_path / "odd", lambda seat: Submitting(answer))
    bench.claim()
    asyncio.run(bench.run(cells))
    rows = rows_in(tmp_path)
    assert [row.failure for row in rows] == [None, None]
    assert mean(rows, score("fixed", "success_rate")) == 0
    assert not any(row.failings["consensus"] for row in rows)


def test_the_whole_matrix_has_ninety_runs_for_each_size():
    cells = [*Matrix().cells(Settings("x"))]
    assert len(cells) == 30 * 6 * 3
    assert len({cell.path(Path("x")) for cell in cells}) == len(cells)


def test_means_leave_out_what_failed():
    key = {"task": "I-01", "agents": 2, "protocol": "p2p"}
    good = {**key, "failure": None, "cost": {"rounds": 4}}
    rows = [row_of("a", good), row_of("a", {**key, "failure": "no"})]
    assert columns(rows, {"rounds": cost("rounds")}).endswith("| a | p2p | 4 |")


def scored(task, protocol, right, failure=None):
    scores = {"fixed": {"success_rate": float(right)}}
    key = {"task": task, "agents": 2, "protocol": protocol, "failure": failure}
    return row_of("a", key | ({} if failure else {"scores": scores}))


ALONE = {"I-01": 1, "I-02": 1, "I-04": 0}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([scored("I-01", "p2p", 1), scored("II-11", "p2p", 0)], "0"),
        ([scored("I-01", "p2p", 0), scored("II-11", "p2p", 1)], "1"),
        ([scored("I-02", "p2p", 0), scored("I-01", "p2p", 1)], "0.5"),
        ([scored("I-01", "p2p", 1), scored("I-04", "p2p", 0, "no")], "0"),
        ([scored("I-01", "p2p", 1), scored("I-03", "p2p", 0)], "0"),
        ([scored("II-11", "p2p", 1)], "-"),
    ],
)
def test_a_team_is_compared_on_tasks_that_were_run_alone_too(rows, expected):
    alone = [scored(task, "solo", right) for task, right in ALONE.items()]
    alone.append(scored("I-03", "solo", 0, "no"))
    found = coordination([*rows, *alone], "fixed")
    assert found.endswith(f"| a | p2p | {expected} |")


def test_choices_on_the_command_line_are_those_of_the_library():
    assert (*SCRIPTED,) == SCRIPTS
    assert set(BOARDS) == {"p2p", "bp", "sfs", "solo"}
    assert set(PROMPTS) == {"neutral", "release"}
