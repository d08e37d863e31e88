"""Requests to jobs and back: what answers of both kinds have in common."""

import dataclasses
import secrets
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from jaxrl.rollout.dialogue import Language
from jaxrl.rollout.session import Stops
from jaxrl.rollout.types import Completion
from jaxrl.serve.answers import Decode
from jaxrl.serve.errors import wrong
from jaxrl.serve.jobs import Job, Jobs, Progress
from jaxrl.serve.prompt_scores import PromptScorer
from jaxrl.serve.recording import Recordings
from jaxrl.serve.requests import Limits, Options

NAMES = 2**31


@dataclasses.dataclass(frozen=True)
class Service:
    """What is served.

    Attributes:
      limits: What may be asked for.
      language: Writes conversations as tokens, and reads calls of tools.
      encode: Text to token ids, with special tokens or without.
      decode: Token ids to text, without special tokens.
      jobs: To the device.
      scorer: Log-probabilities of prompts.
      recordings: Where episodes are kept; None if they aren't.
    """

    limits: Limits
    language: Language
    encode: Callable[[str, bool], Sequence[int]]
    decode: Decode
    jobs: Jobs
    scorer: PromptScorer
    recordings: Recordings | None

    def begin(
        self, prompt: np.ndarray, options: Options, first: int, field: str
    ) -> Job:
        """Queue the answers to a prompt.

        Args:
          prompt: int32 [t].
          options: Of the request.
          first: Number of the first answer in the request.
          field: Of the request that holds the prompt.
        """
        room = self.limits.context - len(prompt)
        if not 0 < len(prompt) < self.limits.context:
            raise wrong(
                field,
                f"has {len(prompt)} tokens; the context is {self.limits.context}, with "
                "one for the answer",
                "context_length_exceeded",
            )
        limit = min(options.default_limit, room)
        if options.limit is not None:
            limit = options.limit
        if limit > room:
            raise wrong(
                "max_tokens",
                f"is {limit}; with {len(prompt)} tokens of the prompt that is more "
                f"than the context of {self.limits.context}",
                "context_length_exceeded",
            )
        job = Job(
            prompt,
            [noise_name(options.seed, first + i) for i in range(options.count)],
            limit,
            options.drawn_from,
            Stops(options.stop_tokens, options.stop_strings),
        )
        self.jobs.put(job)
        return job


def noise_name(seed: int | None, place: int) -> int:
    """Name of an answer's noise: equal for equal seeds, else any.

    Args:
      seed: Of the request.
      place: Of the answer in it.
    """
    if seed is None:
        return secrets.randbelow(NAMES)
    return zlib.crc32(f"{seed} {place}".encode()) % NAMES


class Answer:
    """One answer while it grows."""

    def __init__(self):
        """Begin without tokens."""
        self._tokens: list[int] = []
        self._logp: list[float] = []
        self._version, self._finished = 0, False

    def add(self, news: Progress) -> None:
        """Append what is new."""
        self._tokens += news.tokens
        self._logp += news.logp
        self._version, self._finished = news.version, news.finished

    @property
    def completion(self) -> Completion:
        """What has been drawn so far."""
        return completion_of(
            self._tokens, self._logp, self._version, finished=self._finished
        )


def completion_of(
    tokens: Sequence[int], logp: Sequence[float], version: int, *, finished: bool
) -> Completion:
    """A completion of lists."""
    arrays = np.asarray(tokens, np.int32), np.asarray(logp, np.float32)
    return Completion(*arrays, version, finished)


async def whole(job: Job) -> list[Completion]:
    """All answers of a job, once they are complete."""
    answers = [Answer() for _ in job.names]
    async for news in job.progress():
        answers[news.place].add(news)
    return [answer.completion for answer in answers]
