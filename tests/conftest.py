"""The test environment: silent JAX mistakes are errors, and there are 8 CPU devices."""

import os

# The suite compiles many small programs and runs each a few times. Level 0 compiled a
# prefill in 0.9 s instead of 3.1 s; without the fusion emitters and in one piece, eight
# methods of the laws took 2.9 s of CPU instead of 6.7 s.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import jax
import pytest
from hypothesis import settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
settings.register_profile("search", max_examples=1000, deadline=None)


@pytest.fixture(scope="module")
def compiled_once():
    """Programs that several tests of a file run are compiled by the first of them."""
    # It imports the library, which kernel tests need less of.
    from tests import tiny

    with tiny.cached_compilation():
        yield


@pytest.fixture(params=[lambda f: f, jax.jit], ids=["eager", "jit"])
def variant(request):
    """Runs a kernel test with and without jit: `variant(kernel)(...)`."""
    return request.param
