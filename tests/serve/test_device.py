"""Jobs on the device: what leaves it, and when."""

import asyncio
import threading

import numpy as np
import pytest

from jaxrl.rollout.sampler import Sampler
from jaxrl.rollout.shapes import SamplerShape
from jaxrl.rollout.types import Sampling
from jaxrl.serve.device import work
from jaxrl.serve.errors import RequestError
from jaxrl.serve.jobs import Job, Jobs
from jaxrl.truncation import FULL
from tests import tiny

LIMIT = 40
SHAPE = SamplerShape(1, 1, (4,), (4, 40), steps=4, admit=1)
WIDE = SamplerShape(2, 1, (4,), (4, 40), steps=4, admit=1)
PROMPT = np.array([4], np.int32)


@pytest.fixture(scope="module")
def sampler():
    with tiny.cached_compilation():
        yield Sampler(tiny.MODEL, tiny.params(), SHAPE)


def working(sampler, jobs, ended):
    """The device in a thread."""

    def open_session():
        return sampler.open(Sampling(LIMIT), (0,), mixed=True)

    made = threading.Thread(
        target=work,
        args=(jobs, open_session, lambda: sampler.params, ended),
        daemon=True,
    )
    made.start()
    return made


@pytest.mark.parametrize("renewed", [False, True], ids=["score", "load"])
def test_only_a_new_policy_waits_for_those_that_draw_from_the_old(renewed):
    sampler = Sampler(tiny.MODEL, tiny.params(), WIDE)
    jobs, ending, ended = Jobs(room=3), threading.Event(), []

    def call():
        if renewed:
            sampler.update(tiny.params(1), 1)

    async def finished(job):
        ended.append((job.names[0], (await rest(job))[-1].version))

    async def use():
        long, late = Job(PROMPT, [1], LIMIT, FULL), Job(PROMPT, [2], 1, FULL)
        jobs.put(long)
        await anext(long.progress())
        await jobs.run(call)
        jobs.put(late)
        await asyncio.gather(finished(long), finished(late))

    device = working(sampler, jobs, ending.is_set)
    asyncio.run(use())
    ending.set()
    device.join(20)
    assert ended == ([(1, 0), (2, 1)] if renewed else [(2, 0), (1, 0)])


async def rest(job):
    return [news async for news in job.progress()]


def test_a_cancelled_job_gives_its_slot_to_the_next(sampler):
    jobs, ending = Jobs(room=2), threading.Event()

    async def use():
        first, second = (Job(PROMPT, [name], LIMIT, FULL) for name in (1, 2))
        jobs.put(first)
        async for news in first.progress():
            first.cancelled = True
            jobs.put(second)
            assert not news.done
            break
        drawn = sum(len(news.tokens) for news in await rest(second))
        assert first._news.qsize() < LIMIT / SHAPE.steps - 1
        return drawn

    device = working(sampler, jobs, ending.is_set)
    assert asyncio.run(use()) == LIMIT
    ending.set()
    device.join(20)
    assert jobs.held == 0


def test_what_was_begun_before_the_end_is_finished_and_no_more(sampler):
    jobs, ending = Jobs(room=4), threading.Event()

    async def use():
        begun = [Job(PROMPT, [name], LIMIT, FULL) for name in range(3)]
        for job in begun:
            jobs.put(job)
        ending.set()
        device = working(sampler, jobs, ending.is_set)
        drawn = [await rest(job) for job in begun]
        with pytest.raises(RequestError, match="about to end") as caught:
            jobs.put(Job(PROMPT, [9], LIMIT, FULL))
        assert caught.value.status == 503
        device.join(20)
        assert not device.is_alive()
        return [sum(len(news.tokens) for news in one) for one in drawn]

    assert asyncio.run(use()) == [LIMIT] * 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_device_fails_everyone_who_waits_is_told(sampler):
    jobs = Jobs(room=4)

    def fails():
        raise MemoryError

    async def use():
        job = Job(PROMPT, [0], LIMIT, FULL)
        jobs.put(job)
        waiting = [rest(job), jobs.run(lambda: None), jobs.run(lambda: None)]
        asked = [asyncio.ensure_future(one) for one in waiting]
        await asyncio.sleep(0)
        working(sampler, jobs, fails).join(20)
        told = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
        return [(type(one), one.status, f"{one}") for one in told]

    failed = RequestError, 500, "the server has failed"
    assert asyncio.run(use()) == [failed] * 3
    assert jobs.refusing
