"""Episodes of verifiers: with a double of what we use of it, and with itself."""

import asyncio
import contextlib
import importlib.machinery
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest

from jaxrl.errors import UserError
from jaxrl.rollout.chat_server import ChatServer
from jaxrl.rollout.episodes import Job, played
from jaxrl.rollout.stage import in_thread
from jaxrl.rollout.types import Problem
from jaxrl.tasks.adapters.verifiers import Verifiers, problems
from tests.tasks.adapters.doubles import Scripted


class Double:
    """An environment of questions: a teacher is asked after the agent, if there is one.

    As `verifiers.v1.Env`: errors of agents are kept with their traces, and don't raise.
    """

    def __init__(self, *, teacher=False, raises=None):
        data = [SimpleNamespace(prompt=f"{n}+1=", answer=f"{n + 1}") for n in range(3)]
        self.taskset = [SimpleNamespace(data=one) for one in data]
        self.seats = ["policy", "teacher"] if teacher else ["policy"]
        self.raises, self.served = raises, False

    @contextlib.asynccontextmanager
    async def serving(self):
        self.served = True
        yield
        self.served = False

    async def run_episode(self, task, context):
        assert self.served
        traces = [await self.trace(task, context, seat) for seat in self.seats]
        errors = [] if self.raises is None else [self.raises]
        ok = not errors and all(not trace.errors for trace in traces)
        return SimpleNamespace(ok=ok, errors=errors, traces=traces)

    async def trace(self, task, context, seat):
        server = ChatServer(context.client.base_url, seat, attempts=1, deadline=5.0)
        asked = [{"role": "user", "content": task.data.prompt}]
        text, errors = "", []
        try:
            text = (await in_thread(server.ask, asked, ())).text
        except Exception as error:
            errors.append(SimpleNamespace(type="ProviderError", message=f"{error}"))
        agent = SimpleNamespace(
            config=SimpleNamespace(model=seat), trainable=seat == "policy"
        )
        return SimpleNamespace(
            agent=agent,
            reward=float(text == task.data.answer),
            metrics={"length": float(len(text)), "unknown": None},
            errors=errors,
        )


@pytest.fixture
def library(monkeypatch):
    module = SimpleNamespace(
        EvalClientConfig=lambda base_url, api_key_var: SimpleNamespace(
            base_url=base_url
        ),
        ModelContext=lambda model, client: SimpleNamespace(model=model, client=client),
    )
    monkeypatch.setitem(sys.modules, "verifiers.v1", module)


def play(make, problem, **says):
    agents = {seat: Scripted(*texts) for seat, texts in says.items()}
    job = Job(0, problem, 0)
    found = asyncio.run(played(Verifiers(make), job, agents, deadline=20))
    return found, agents


def test_an_episode_is_worth_what_the_environment_says(library):
    tasks = problems(Double, 2)
    assert [task.prompt for task in tasks] == ["0+1=", "1+1="]
    for task, reward in zip(tasks, (0.0, 1.0), strict=True):
        outcome, agents = play(Double, task, policy=["2"])
        assert outcome.failure is None
        assert outcome.agents["policy"].rewards == (reward,)
        assert outcome.numbers == {"verifiers_length": 1.0}
        assert agents["policy"].asked == [[{"role": "user", "content": task.prompt}]]


def test_models_are_seats_and_may_be_left_untrained(library):
    def make():
        return Double(teacher=True)

    outcome, _ = play(make, problems(make, 1)[0], policy=["0"], teacher=["1"])
    judged = outcome.agents
    assert (judged["policy"].rewards, judged["teacher"].rewards) == ((0.0,), (1.0,))
    assert (judged["policy"].trainable, judged["teacher"].trainable) == (True, False)


def test_an_agent_that_fails_fails_the_episode_in_its_own_way(library):
    failure, _ = play(Double, problems(Double, 1)[0], policy=[])
    assert failure.kind == "limit"


def test_an_environment_that_fails_is_no_zero(library):
    def make():
        return Double(raises=SimpleNamespace(type="EnvError", message="no box"))

    outcome, _ = play(make, problems(make, 1)[0], policy=["1"])
    assert (outcome.failure.kind, outcome.failure.message) == (
        "error",
        "EnvError: no box",
    )


def test_episodes_at_once_do_not_disturb_each_other(library):
    async def at_once():
        task = Verifiers(Double)
        agents = [{"policy": Scripted(text)} for text in ("1", "2")]
        jobs = [task(p, a) for p, a in zip(problems(Double, 2), agents, strict=True)]
        return await asyncio.gather(*jobs)

    for outcome in asyncio.run(at_once()):
        assert outcome.agents["policy"].rewards == (1.0,)


@pytest.mark.parametrize("extra", [{"task": 3}, {"task": -1}, {}])
def test_a_place_that_the_taskset_does_not_have_is_named(library, extra):
    task, agents = Verifiers(Double), {"policy": Scripted("1")}
    with pytest.raises(UserError, match=r"'x' has extra\['task'\] (3|-1|None), and"):
        asyncio.run(task(Problem("x", "", None, extra), agents))


def test_an_environment_may_take_its_time_to_be_made(library):
    threads = []

    def make():
        threads.append(threading.current_thread())
        return Double()

    outcome, _ = play(make, problems(Double, 1)[0], policy=["1"])
    assert outcome.failure is None
    assert threading.main_thread() not in threads


def installed(monkeypatch):
    """What makes an environment of the library, whose harness needs no program."""
    library = pytest.importorskip("verifiers.v1")
    from verifiers.v1.envs.single_agent import SingleAgentEnv
    from verifiers.v1.envs.single_agent.env import SingleAgentEnvConfig

    class Data(library.TaskData):
        answer: str = ""

    class Sum(library.Task):
        @library.reward
        async def right(self, trace) -> float:
            return float(trace.last_reply == self.data.answer)

    class Sums(library.Taskset):
        def load(self):
            for n in range(3):
                yield Sum(Data(prompt=f"{n}+1=", answer=f"{n + 1}"), self.config.task)

    class Once(library.Harness):
        EXECUTES_CODE = NEEDS_CONTAINER = False

        async def launch(self, ctx, trace, runtime, endpoint, secret, mcp_urls, data):
            import httpx

            asked = [{"role": "user", "content": data.prompt}]
            async with httpx.AsyncClient() as client:
                answer = await client.post(
                    f"{endpoint}/chat/completions",
                    json={"model": ctx.model, "messages": asked},
                    headers={"Authorization": f"Bearer {secret}"},
                )
                answer.raise_for_status()
            return library.ProgramResult(0, "", "")

    for kind in (Sums, Once):
        module = ModuleType(f"jaxrl_{kind.__name__.lower()}")
        vars(module).update({kind.__name__: kind, "__all__": [kind.__name__]})
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    agent = {"harness": {"id": "jaxrl_once"}, "runtime": {"type": "subprocess"}}
    part = SingleAgentEnvConfig(taskset={"id": "jaxrl_sums"}, agent=agent)
    return lambda: SingleAgentEnv(part)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_library_itself_asks_and_rewards_our_agents(monkeypatch):
    make = installed(monkeypatch)
    for task, reward in zip(problems(make, 2), (0.0, 1.0), strict=True):
        outcome, agents = play(make, task, policy=["2"])
        assert outcome.failure is None
        assert outcome.agents["policy"].rewards == (reward,)
        assert [one["content"] for one in agents["policy"].asked[0]] == [task.prompt]
    failure, _ = play(make, problems(make, 1)[0], policy=[])
    assert failure.kind == "limit"
