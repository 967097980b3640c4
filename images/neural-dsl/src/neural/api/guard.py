"""Let the published package be imported without the heavy modules that it names but does not use here.

``neural.shape_propagation`` and ``neural.code_generation`` import ``torch``, ``triton`` and ``huggingface_hub``, though
writing source code calls none of them. For exactly these names, and only where the real module is not installed, a
stand-in is put in place: it can be imported, named in annotations, used as a base class and as a decorator, and raises
GuardedModuleError as soon as anything of it is really used. ``torch.cuda.is_available()`` is the one call that has an
honest answer without PyTorch: no.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any, NoReturn

GUARDED = ("torch", "triton", "huggingface_hub")
HINTS = {
    "torch": "PyTorch is not part of this image: build the image's variant with PyTorch and let the pool use it.",
    "triton": "Triton is not part of this image: it comes with the image's variant with PyTorch.",
    "huggingface_hub": "Pretrained weights are not part of this image: huggingface_hub is not installed.",
}


class GuardedModuleError(RuntimeError):
    """Something of a module that is not installed was really used."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was used. {HINTS[name.partition('.')[0]]}")


class _Placeholder(type):
    """A class that exists by name only."""

    def __call__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        raise GuardedModuleError(cls.__qualname__)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise GuardedModuleError(f"{cls.__qualname__}.{name}")


def _placeholder(qualified: str) -> type:
    return _Placeholder(qualified.rpartition(".")[2], (), {"__module__": __name__, "__qualname__": qualified})


def _refuse(qualified: str) -> Any:
    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        raise GuardedModuleError(qualified)

    return refuse


class _GuardedModule(ModuleType):
    """A stand-in whose every attribute that is not named in it refuses to be used."""

    __guarded__ = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise GuardedModuleError(f"{self.__name__}.{name}")


def _module(name: str, **attributes: object) -> _GuardedModule:
    module = _GuardedModule(name)
    module.__path__ = []
    module.__dict__.update(attributes)
    return module


def _torch() -> dict[str, ModuleType]:
    nn = _module("torch.nn", Module=_placeholder("torch.nn.Module"))
    autograd = _module("torch.autograd", Function=_placeholder("torch.autograd.Function"))
    cuda = _module("torch.cuda", is_available=lambda: False)
    torch = _module("torch", nn=nn, autograd=autograd, cuda=cuda)
    return {"torch": torch, "torch.nn": nn, "torch.autograd": autograd, "torch.cuda": cuda}


def _triton() -> dict[str, ModuleType]:
    def jit(_function: object) -> Any:
        return _refuse("triton.jit")

    return {"triton": _module("triton", jit=jit)}


def _huggingface_hub() -> dict[str, ModuleType]:
    return {"huggingface_hub": _module("huggingface_hub", hf_hub_download=_refuse("huggingface_hub.hf_hub_download"))}


def installed(name: str) -> bool:
    """Whether the real module is there."""
    module = sys.modules.get(name)
    if module is not None:
        return not isinstance(module, _GuardedModule)
    return importlib.util.find_spec(name) is not None


def install() -> list[str]:
    """Put a stand-in in place of each guarded module that is not installed; say which."""
    makers = {"torch": _torch, "triton": _triton, "huggingface_hub": _huggingface_hub}
    replaced = []
    for name in GUARDED:
        if not installed(name):
            if name not in sys.modules:
                sys.modules.update(makers[name]())
            replaced.append(name)
    return replaced
