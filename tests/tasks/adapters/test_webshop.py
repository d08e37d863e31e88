import asyncio
import sys
from types import SimpleNamespace

import pytest

from jaxrl.errors import UserError
from jaxrl.tasks.adapters.webshop import goals, webshop
from tests.tasks.adapters.doubles import Scripted, Shop


@pytest.fixture
def library(monkeypatch):
    module = SimpleNamespace(WebAgentTextEnv=Shop)
    monkeypatch.setitem(sys.modules, "web_agent_site.envs", module)


def test_all_episodes_share_one_shop(library):
    before = Shop.loaded
    with webshop() as task:
        for problem in goals(2):
            outcome = asyncio.run(task(problem, {"policy": Scripted("click[Next]")}))
            assert outcome.failure is None
        assert Shop.loaded == before + 1
    assert Shop.loaded == before


def test_a_run_that_fails_closes_the_shop(library):
    before = Shop.loaded
    with pytest.raises(KeyError), webshop():
        raise KeyError("in the run")
    assert Shop.loaded == before


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("next", "write search"),
        ("click[buy now]", "There is no 'buy now'"),
        ("search[it]", "nothing to search with"),
    ],
)
def test_what_a_page_does_not_offer_is_no_action(library, action, told):
    agent = Scripted("click[next]", action, "click[next]")
    with webshop() as task:
        outcome = asyncio.run(task(goals(1)[0], {"policy": agent}))
    shown = agent.asked[2][-1]["content"]
    assert told in shown
    assert "at 1 of 2" in shown
    assert outcome.numbers == {
        "episode_terminated": 1,
        "episode_truncated": 0,
        "invalid_actions": 1,
        "won": 1,
    }


def test_missing_code_and_missing_data_are_said(library, monkeypatch):
    with (
        pytest.raises(UserError, match=r"items_shuffle.*setup\.sh"),
        webshop(products=0),
    ):
        pass
    monkeypatch.setitem(sys.modules, "web_agent_site.envs", None)
    with pytest.raises(UserError, match="PYTHONPATH"), webshop():
        pass
