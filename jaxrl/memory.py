"""Settings that keep a process small: XLA's compiler and glibc's allocator."""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform

COMPILER = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=1"
"""XLA's other code generator for CPU and LLVM's level 1.

Compiling takes a quarter of the memory and half of the time, a step about as long.
"""

CHECKED = ("0.10.",)
"""Versions of jaxlib that know these flags; XLA aborts on one that it doesn't know."""

RETURNED = 1 << 20
"""Free memory of this many bytes in one piece goes back to the system."""

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def save_memory() -> None:
    """Make XLA compile in less memory, and glibc return what is freed.

    For the whole process, so commands call it and libraries don't. It must run before
    JAX compiles anything. The compiler is set only where JAX has just the CPU, and
    flags in `XLA_FLAGS` win. The allocator is set on Linux with glibc: by default it
    keeps freed blocks of up to 32 MB, and what the compiler leaves adds up.
    """
    if not accelerated():
        os.environ["XLA_FLAGS"] = compiler_flags(
            os.environ.get("XLA_FLAGS", ""), importlib.metadata.version("jaxlib")
        )
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, RETURNED)
        mallopt(M_TRIM_THRESHOLD, RETURNED)


def accelerated() -> bool:
    """Whether support of JAX for an accelerator is installed."""
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or importlib.util.find_spec("libtpu") is not None


def compiler_flags(given: str, version: str) -> str:
    """The user's flags for XLA, ours in front where this jaxlib knows them.

    >>> compiler_flags("--xla_cpu_enable_fast_math=true", "0.10.2").split()[1:]
    ['--xla_backend_optimization_level=1', '--xla_cpu_enable_fast_math=true']

    Args:
      given: What `XLA_FLAGS` holds; of a repeated flag XLA takes the last.
      version: Of jaxlib.

    Returns:
      What `XLA_FLAGS` should hold.
    """
    if COMPILER in given or not version.startswith(CHECKED):
        return given
    return f"{COMPILER} {given}".strip()
