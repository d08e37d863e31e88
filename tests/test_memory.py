import subprocess
import sys

import pytest

from jaxrl.memory import compiler_flags

FREED = """
import ctypes

from jaxrl.memory import save_memory


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


save_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
before, size, freed = resident(), 20 << 20, []
for _ in range(3):
    block = ctypes.c_void_p(libc.malloc(size))
    ctypes.memset(block, 1, size)
    libc.malloc(64 << 10)
    libc.free(block)
    freed.append(resident() - before)
print(max(freed))
"""

COMPILED = """
from jaxrl.memory import save_memory

save_memory()
import jax

print(jax.jit(lambda x: x + 1)(2.0))
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="sets glibc's allocator")
def test_a_freed_block_goes_back_to_the_system():
    assert int(run(FREED)) < 10 << 20


def test_the_installed_compiler_takes_the_flags():
    assert run(COMPILED) == "3.0\n"


@pytest.mark.parametrize("version", ["0.9.2", "0.11.0", "1.0.10"])
def test_an_unchecked_compiler_gets_the_flags_of_the_user_only(version):
    given = "--xla_cpu_enable_fast_math=true"
    assert compiler_flags(given, version) == given


def test_flags_are_added_once():
    once = compiler_flags("", "0.10.2")
    assert compiler_flags(once, "0.10.2") == once


def test_a_flag_of_the_user_is_kept():
    given = "--xla_cpu_use_fusion_emitters=true"
    assert compiler_flags(given, "0.10.2").endswith(given)
