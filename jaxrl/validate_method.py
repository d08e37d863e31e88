"""Whether a method finds what it learns from: checks of data, groups and teachers.

As in `jaxrl.validate`, a check yields messages that name the field, its value and the
fix.
"""

from collections.abc import Callable, Iterator

from jaxrl.config import Demonstrations, Preferences, Rollouts, RunConfig

Messages = Iterator[str]


def teacher(config: RunConfig) -> Messages:
    """Whether there is one teacher, where the method needs one."""
    data, needs, method = config.data, config.method.needs, type(config.method).__name__
    path, server = config.model.teacher_path, config.model.teacher_server
    taught = path is not None or server is not None
    other = isinstance(data, Rollouts) and data.other_context is not None
    if needs.other_context and not other:
        yield (
            f"data.other_context is None, but {method} learns what the policy says in "
            "another context; set it to a function Problem -> Problem in the config "
            "file"
        )
    elif (needs.teacher or needs.top_k) and not (taught or other):
        yield (
            f"model.teacher_path is None, but {method} learns from a teacher; give "
            "--model.teacher-path DIR"
        )
    if path is not None and server is not None:
        yield (
            f"model.teacher_path is {path}, and model.teacher_server is {server.url}; "
            "leave one of them None"
        )
    if needs.student_top and server is not None:
        yield (
            f"model.teacher_server is {server.url}, which tells its own likeliest "
            f"tokens, but {method} asks about the student's; give --model.teacher-path "
            "DIR instead"
        )


def teacher_of_rollouts(config: RunConfig) -> Messages:
    """Whether a teacher can score, and sample, what the policy is asked."""
    data, server = config.data, config.model.teacher_server
    if not isinstance(data, Rollouts):
        return
    other = data.other_context is not None
    taught = config.model.teacher_path is not None or server is not None
    if server is not None and data.temperature != 1:
        yield (
            f"data.temperature is {data.temperature:g}, but a server scores at "
            "temperature 1; give 1, or --model.teacher-path DIR instead"
        )
    if data.teacher_share > 0 and server is not None:
        yield (
            f"data.teacher_share is {data.teacher_share:g}, but a teacher samples in "
            "this process only; give --model.teacher-path DIR instead of a server"
        )
    if data.teacher_share > 0 and not (taught or other):
        yield (
            f"data.teacher_share is {data.teacher_share:g}, but model.teacher_path is "
            "None; give --model.teacher-path DIR"
        )
    if other and (data.packed or data.allocation is not None):
        yield (
            "data.other_context needs rows that share their prompt; leave "
            "data.allocation None and data.packed False"
        )


def kind(config: RunConfig) -> Messages:
    """Whether the method can learn from this kind of data."""
    data, needs = config.data, config.method.needs
    method, kind = type(config.method).__name__, type(data).__name__
    if needs.elbo:
        yield (
            f"method is {method}, which scores a masked-diffusion decoder, and models/ "
            "holds none yet; choose Dpo for a causal model"
        )
    if isinstance(data, Preferences) and not needs.pairs:
        yield (
            f"method is {method}, which does not compare pairs, but data is {kind}; "
            "choose a preference method such as Dpo in the config file"
        )
    if isinstance(data, Demonstrations) and needs.pairs:
        yield (
            f"method is {method}, which compares pairs, but data is {kind}; give "
            "Preferences, or Rollouts to pair samples by their reward"
        )
    samples = needs.groups or needs.values or needs.teacher or needs.other_context
    if samples and not isinstance(data, Rollouts):
        yield (
            f"method is {method}, which learns from the policy's own samples, but data "
            f"is {kind}; give Rollouts, or choose a supervised method in the config "
            "file"
        )


def groups(config: RunConfig) -> Messages:
    """Whether there are enough samples of a prompt to compare."""
    data, method = config.data, type(config.method).__name__
    if not isinstance(data, Rollouts):
        return
    if config.method.needs.pairs and data.samples_per_prompt == 1:
        yield (
            f"data.samples_per_prompt is 1, but {method} pairs the best with the worst "
            "sample of a prompt; give 2 or more"
        )
    if config.method.needs.groups and data.samples_per_prompt == 1:
        yield (
            f"data.samples_per_prompt is 1, but {method} compares the samples of a "
            "prompt with each other; give 2 or more"
        )


METHOD_CHECKS: tuple[Callable[[RunConfig], Messages], ...] = (
    kind,
    groups,
    teacher,
    teacher_of_rollouts,
)
