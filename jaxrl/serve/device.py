"""The main thread of a server: jobs to rows of a session, block by block."""

from collections.abc import Callable
from http import HTTPStatus

from jaxrl.rollout.session import Session
from jaxrl.serve.errors import RequestError
from jaxrl.serve.jobs import Call, Job, Jobs, Progress
from jaxrl.types import Params


def work(
    jobs: Jobs,
    open_session: Callable[[], Session],
    params: Callable[[], Params],
    ended: Callable[[], bool],
) -> None:
    """Draw what is asked until the server is to end; what was begun is finished.

    Args:
      jobs: What is asked.
      open_session: Opens a mixed session.
      params: The policy that a session opened now draws from.
      ended: Whether to end.
    """
    session, later, live = open_session(), list[Job](), list[_Live]()
    calls = list[Call]()
    try:
        while True:
            if ended():
                jobs.close("the server is about to end")
                if not jobs.held:
                    return
            new, calls = jobs.take(session.busy)
            later += new
            for call in calls:
                call.run()
            stale = session.engine.params is not params()
            if stale and not session.busy:
                session, stale = open_session(), False
            if not stale:  # Where a call loaded a policy, what comes gets that.
                live, later = live + [_Live(job, session) for job in later], []
            if session.busy:
                session.advance()
            for one in live:
                jobs.release(one.tell())
            live = [one for one in live if one.open]
    except BaseException:
        jobs.close("the server has failed")
        gone = RequestError(HTTPStatus.INTERNAL_SERVER_ERROR, "the server has failed")
        new, left = jobs.take(True)
        for job in [*(one.job for one in live), *later, *new]:
            job.tell(gone)
        for call in [*calls, *left]:  # Who has a result keeps it.
            call.fail(gone)
        raise


class _Live:
    """A job on the device."""

    def __init__(self, job: Job, session: Session):
        self.job = job
        self._rows = session.submit(
            job.prompt, job.names, job.limit, job.drawn_from, job.stops
        )
        self._told, self._version = [0] * len(self._rows), session.engine.version
        self.open: set[int] = {*range(len(self._rows))}

    def tell(self) -> int:
        """Hand on what is new; returns how many answers are done with."""
        if self.job.cancelled:
            for row in self._rows:
                row.live = False
            count = len(self.open)
            self.open.clear()
            return count
        count = 0
        for index in sorted(self.open):
            row, start = self._rows[index], self._told[index]
            if len(row.tokens) == start:
                continue
            self._told[index] = len(row.tokens)
            new = row.tokens[start:], row.logp[start:]
            self.job.tell(
                Progress(index, *new, not row.live, row.finished, self._version)
            )
            if not row.live:
                self.open.discard(index)
                count += 1
        return count
