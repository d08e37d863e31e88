"""The rules of rounds, worked out by hand."""

import asyncio
import json

import pytest

from jaxrl.rollout.chat import Reply, ToolCall
from jaxrl.tasks.silo.agents import SCRIPTED
from jaxrl.tasks.silo.environment import IGNORED, Rules, play
from jaxrl.tasks.silo.prompts import PLANNING, SCRATCHPAD, released
from jaxrl.tasks.silo.protocols import PROTOCOLS
from jaxrl.tasks.silo.scoring import mended_scores
from jaxrl.tasks.silo.wire import NativeWire, TextWire
from tests.tasks.silo.teams import (
    begun,
    call,
    calls,
    finish,
    results,
    scripted,
    seats,
    submissions,
)

RECEIVE, WAIT = call("receive_messages"), call("wait")


def send(target, content="hello"):
    return call("send_message", target_id=target, content=content)


def write(path, content):
    return call("write_file", path=path, content=content)


def contents(result):
    return [message["content"] for message in result["messages"]]


def test_a_message_is_there_in_the_next_round_and_once():
    run = begun("I-01", 2)
    run.step({0: send(1, "a"), 1: RECEIVE})
    run.step({0: calls(send(1, "b"), send(1, "c")), 1: RECEIVE})
    run.step({0: WAIT, 1: RECEIVE})
    run.step({0: WAIT, 1: RECEIVE})
    assert [contents(r) for r in results(run, 1)] == [[], ["a"], ["b", "c"], []]
    assert results(run, 1)[1]["messages"][0] | {"content": ""} == {
        "from": 0,
        "content": "",
        "timestamp": 1,
    }


def test_a_broadcast_reaches_all_others():
    run = begun("I-01", 3, protocol="bp")
    run.step({0: call("broadcast_message", content="x"), 1: WAIT, 2: WAIT})
    run.step({0: RECEIVE, 1: RECEIVE, 2: call("list_agents")})
    assert contents(results(run, 0)[-1]) == []
    assert contents(results(run, 1)[-1]) == ["x"]
    assert results(run, 2)[-1] == {"agent_ids": [0, 1, 2], "total": 3}
    assert (run.board.events, len(run.board.transfers)) == ([1, 0, 0], 2)


def test_files_are_seen_as_they_were_and_the_last_writer_wins():
    run = begun("I-01", 3, protocol="sfs")
    read = call("read_file", path="k")
    run.step({0: write("k", [1]), 1: write("k", [2]), 2: read})
    run.step({0: read, 1: call("list_files", prefix="k"), 2: write("k", [3])})
    run.step({0: read, 1: call("list_files", prefix="x"), 2: read})
    facts = {"modified_by": 1, "modified_at_round": 1}
    assert results(run, 2)[0]["success"] is False
    assert results(run, 0)[1] == {"success": True, "content": [2], "metadata": facts}
    assert results(run, 1)[1] == {"files": [{"path": "k", **facts}]}
    assert results(run, 0)[2]["content"] == [3]
    assert results(run, 1)[2] == {"files": []}
    assert (run.board.events, len(run.board.transfers)) == ([0, 1, 1], 2)


def test_a_file_rewritten_in_a_round_counts_once_and_deleting_sees_it():
    run = begun("I-01", 2, protocol="sfs")
    delete = call("delete_file", path="k")
    run.step({0: calls(write("k", 1), write("k", 2)), 1: delete})
    run.step({0: calls(write("k", 3), write("k", 4)), 1: WAIT})
    run.step({0: call("read_file", path="k"), 1: calls(delete, delete)})
    run.step({0: call("read_file", path="k"), 1: WAIT})
    assert results(run, 1)[0]["success"] is True
    assert results(run, 0)[4]["content"] == 4
    assert [r["success"] for r in results(run, 1)[2:4]] == [True, False]
    assert results(run, 0)[5]["success"] is False
    assert run.board.events == [1, 0]


def test_wait_and_submission_end_the_turn():
    run = begun("I-01", 2)
    run.step({0: calls(WAIT, send(1)), 1: calls(call("submit_result", answer=3), WAIT)})
    assert results(run, 0) == [{"status": "waiting"}, IGNORED]
    assert results(run, 1) == [{"status": "submitted"}, IGNORED]
    assert run.board.events == [0, 0]
    assert (run.members[1].answer, run.members[1].submitted) == (3, 1)
    assert run.acting == [0]
    before = run.observation(1)[0][:]
    run.step({0: send(1)})
    assert run.observation(1)[0] == before


def test_a_run_ends_when_all_have_submitted_or_the_rounds_are_over():
    submit = call("submit_result", answer=1)
    run = begun("I-01", 2, rules=Rules(rounds=3))
    run.step({0: submit, 1: WAIT})
    run.step({1: submit})
    assert (run.finished, run.rounds, run.acting) == (True, 2, [])
    run = begun("I-01", 2, rules=Rules(rounds=2))
    run.step({0: submit, 1: WAIT})
    run.step({1: WAIT})
    assert (run.finished, run.rounds, run.members[1].answer) == (True, 2, None)
    with pytest.raises(ValueError, match="replies"):
        run.step({1: WAIT})


@pytest.mark.parametrize("replies", [{}, {0: WAIT}, {0: WAIT, 1: WAIT, 2: WAIT}])
def test_a_step_takes_the_replies_of_all_acting_agents(replies):
    with pytest.raises(ValueError, match="replies"):
        begun("I-01", 2).step(replies)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (ToolCall("fly", {}), "unknown_tool"),
        (ToolCall("read_file", {"path": "k"}), "unknown_tool"),
        (ToolCall("send_message", None), "bad_arguments"),
        (ToolCall("send_message", {"target_id": 1}), "bad_arguments"),
        (ToolCall("send_message", {"target_id": "1", "content": ""}), "bad_arguments"),
        (ToolCall("send_message", {"target_id": True, "content": ""}), "bad_arguments"),
        (ToolCall("send_message", {"target_id": 1, "content": 3}), "bad_arguments"),
        (ToolCall("wait", {"rounds": 2}), "bad_arguments"),
        (ToolCall("submit_result", {}), "bad_arguments"),
    ],
)
def test_a_wrong_call_is_a_result_and_costs_the_round(wrong, error):
    run = begun("I-01", 2)
    run.step({0: Reply("", (wrong,)), 1: WAIT})
    assert results(run, 0)[0]["error"] == error
    assert (
        run.members[0]
        .messages[-1]["content"]
        .endswith("Your reply contained no valid tool call, and the round has passed.")
    )
    assert [member.invalid for member in run.members] == [1, 0]
    assert (run.round, run.acting) == (2, [0, 1])


@pytest.mark.parametrize("target", [-1, 0, 2])
def test_nobody_writes_to_itself_or_to_strangers(target):
    run = begun("I-01", 2)
    run.step({0: send(target), 1: WAIT})
    assert results(run, 0)[0]["error"] == "bad_target"
    assert run.board.events == [0, 0]


def test_an_answer_nested_beyond_reason_is_refused():
    answer = json.loads("[" * 200 + "]" * 200)
    run = begun("I-01", 2)
    run.step({0: call("submit_result", answer=answer), 1: WAIT})
    assert results(run, 0)[0]["error"] == "bad_arguments"
    assert (run.members[0].submitted, run.members[0].invalid) == (None, 1)


def test_what_is_read_is_known_from_the_next_reply_on():
    run = begun("I-01", 3)
    run.step({0: send(1), 1: WAIT, 2: WAIT})
    run.step({0: WAIT, 1: calls(RECEIVE, send(2)), 2: WAIT})
    run.step({0: WAIT, 1: send(2), 2: RECEIVE})
    assert run.members[2].known == {1, 2}
    run.step({0: WAIT, 1: WAIT, 2: RECEIVE})
    assert run.members[2].known == {0, 1, 2}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_lost_message_is_missed_by_whom_it_was_for(protocol):
    whole = scripted("II-11", 4, "chain", protocol=protocol)
    assert mended_scores(whole.instance, submissions(whole)).success
    rules = Rules(lost=frozenset((1,)))
    run = begun("II-11", 4, protocol=protocol, rules=rules)
    with pytest.raises(KeyError, match="shards-1"):
        finish(run, [SCRIPTED["chain"](seat) for seat in seats(run, protocol)])
    assert run.board.events[1] == (0 if protocol == "sfs" else 1)
    assert [member.submitted for member in run.members] == [1, 3, None, None]


def test_pushed_messages_come_by_themselves():
    run = begun("I-01", 2, rules=Rules(push=True))
    run.step({0: send(1, "news"), 1: WAIT})
    assert '"content": "news"' in run.observation(1)[0][-1]["content"]
    assert run.members[1].known == {0, 1}
    run.step({0: WAIT, 1: RECEIVE})
    assert contents(results(run, 1)[-1]) == []


def test_several_replies_in_a_round_see_results_but_no_new_messages():
    run = begun("I-01", 2, rules=Rules(calls=2))
    run.step({0: send(1), 1: RECEIVE})
    assert (run.round, run.acting) == (1, [0, 1])
    run.step({0: WAIT, 1: RECEIVE})
    assert (run.round, contents(results(run, 1)[1])) == (2, [])
    run.step({0: WAIT, 1: RECEIVE})
    assert (run.acting, contents(results(run, 1)[2])) == ([1], ["hello"])
    run.step({1: call("submit_result", answer=1)})
    assert (run.round, run.acting) == (3, [0])


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        (1, ("replies once, all", "end it. You see the results when the next round")),
        (2, ("replies up to 2 times, all", "end your round. You see the results bef")),
    ],
)
def test_agents_are_told_how_often_they_may_reply(calls, told):
    run = begun("I-01", 2, rules=Rules(calls=calls))
    for part in told:
        assert part in run.observation(0)[0][0]["content"]


def test_a_reply_without_a_call_ends_the_round_only_if_it_was_the_last():
    run = begun("I-01", 2, rules=Rules(calls=2))
    run.step({0: Reply("Hm."), 1: WAIT})
    assert run.observation(0)[0][-1]["content"].endswith("no valid tool call.")
    run.step({0: Reply("Hm.")})
    assert run.observation(0)[0][-1]["content"].endswith("the round has passed.")


@pytest.mark.parametrize(
    ("push", "protocol", "told"),
    [(False, "p2p", False), (True, "p2p", True), (True, "sfs", False)],
)
def test_agents_are_told_whether_messages_come_by_themselves(push, protocol, told):
    run = begun("I-01", 2, protocol=protocol, rules=Rules(push=push))
    assert ("when a round begins." in _exchange(run)) == told


def _exchange(run):
    return run.observation(0)[0][0]["content"].split("There are at most")[0]


def test_a_plan_comes_before_the_first_round():
    run = begun("I-01", 2, rules=Rules(planning=True))
    messages, tools = run.observation(0)
    assert (messages[-1]["content"].endswith(PLANNING), [*tools]) == (True, [])
    run.step({0: Reply("I collect.", WAIT.tool_calls), 1: Reply("", (), 5, 7)})
    assert (run.round, run.rounds, run.acting) == (1, 0, [0, 1])
    said = [m["content"] for m in run.observation(0)[0][-2:]]
    assert said == ["I collect.", "The first round begins."]
    assert (run.members[1].prompt_tokens, run.members[1].completion_tokens) == (5, 7)


def test_ablations_are_in_the_messages():
    rules = Rules(reminder=True, scratchpad=True)
    run = begun("I-01", 2, rules=rules)
    assert SCRATCHPAD in run.observation(0)[0][0]["content"]
    run.step({0: WAIT, 1: WAIT})
    assert "Rounds left: 99" in run.observation(0)[0][-1]["content"]


@pytest.mark.parametrize("level", ["I-01", "II-11", "III-21"])
def test_only_the_prompts_of_the_release_name_the_topology(level):
    topology = {"I": "star", "II": "chain", "III": "all to all"}[level.split("-")[0]]
    texts = [
        "\n".join(m["content"] for m in begun(level, 5, rules=rules).observation(3)[0])
        for rules in (Rules(), Rules(prompt=released))
    ]
    assert [topology in text for text in texts] == [False, True]


@pytest.mark.parametrize("wire", [NativeWire(), TextWire()])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_prompt_tells_the_own_shard_and_no_answer(protocol, wire):
    for task in ("I-06", "II-16", "III-22"):
        run = begun(task, 5, protocol=protocol, wire=wire)
        for agent, shard in enumerate(run.instance.shards):
            text = "\n".join(m["content"] for m in run.observation(agent)[0])
            shown = [str(other) in text for other in run.instance.shards]
            assert shown == [i == agent for i in range(5)]
            assert str(run.instance.expected[0]) not in text.replace(str(shard), "")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("wire", [NativeWire(), TextWire()])
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_a_run_goes_on_from_a_saved_state(protocol, wire, steps):
    whole = scripted("III-27", 3, "chain", protocol=protocol, wire=wire)
    first = begun("III-27", 3, protocol=protocol, wire=wire)
    agents = [SCRIPTED["chain"](seat) for seat in seats(first, protocol)]
    for _ in range(steps):
        replies = [
            asyncio.run(agents[i].reply(*first.observation(i))) for i in first.acting
        ]
        first.step(dict(zip(first.acting, replies, strict=True)))
    second = begun("III-27", 3, protocol=protocol, wire=wire)
    second.restore(json.loads(json.dumps(first.saved())))
    finish(second, agents)
    assert json.dumps(second.saved()) == json.dumps(whole.saved())


def test_what_an_agent_raises_ends_the_run():
    class Broken:
        async def reply(self, messages, tools):
            raise LookupError("no reply")

    run = begun("I-01", 2)
    with pytest.raises(LookupError, match="no reply"):
        asyncio.run(play(run, [Broken(), Broken()], limit=asyncio.Semaphore(1)))


def test_all_agents_of_a_round_are_asked_at_once_up_to_the_limit():
    waiting, busiest = 0, []

    class Slow:
        async def reply(self, messages, tools):
            nonlocal waiting
            waiting += 1
            busiest.append(waiting)
            await asyncio.sleep(0)
            waiting -= 1
            return call("submit_result", answer=1)

    run = begun("I-01", 5)
    asyncio.run(play(run, [Slow()] * 5, limit=asyncio.Semaphore(3)))
    assert (max(busiest), run.rounds) == (3, 1)
