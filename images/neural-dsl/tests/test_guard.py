"""The import guard: narrow, and loud when something guarded is really used."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from neural.api import engine, guard

guard.install()


def test_exactly_these_are_guarded() -> None:
    assert guard.GUARDED == ("torch", "triton", "huggingface_hub")
    assert guard.install() == list(guard.GUARDED)
    with pytest.raises(ModuleNotFoundError):
        __import__("tensorflow")


def test_importing_and_naming_is_harmless() -> None:
    import torch
    import triton
    from huggingface_hub import hf_hub_download

    class Layer(torch.nn.Module):
        """As the package declares one."""

    @triton.jit
    def kernel() -> None:
        """As the package declares one."""

    assert issubclass(Layer, torch.nn.Module)
    assert callable(kernel) and callable(hf_hub_download)
    assert torch.cuda.is_available() is False


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("torch", lambda torch: torch.nn.Module()),
        ("torch", lambda torch: torch.nn.Conv2d),
        ("torch", lambda torch: torch.load("x")),
        ("torch", lambda torch: torch.zeros(1)),
        ("torch", lambda torch: torch.cuda.memory_allocated()),
        ("torch", lambda torch: torch.autograd.Function.apply),
        ("triton", lambda triton: triton.ops.conv2d),
        ("triton", lambda triton: triton.jit(print)()),
        ("huggingface_hub", lambda hub: hub.hf_hub_download("a", "b")),
        ("huggingface_hub", lambda hub: hub.login()),
    ],
)
def test_using_is_an_error_that_names_what_is_missing(name: str, use: Callable[[ModuleType], object]) -> None:
    with pytest.raises(guard.GuardedModuleError, match=rf"{name}\..* was used\. .*not"):
        use(importlib.import_module(name))


def test_a_real_module_is_left_alone() -> None:
    code = (
        "import sys, types; real = types.ModuleType('triton'); sys.modules['triton'] = real;"
        "from neural.api import guard; print(guard.install(), sys.modules['triton'] is real)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['torch', 'huggingface_hub'] True"


def test_the_package_really_uses_nothing_guarded_to_generate(program: str) -> None:
    for backend in engine.BACKENDS:
        assert engine.generate(program, backend).code
