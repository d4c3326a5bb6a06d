"""Lets Megatron-LM train on a CPU: on PYTHONPATH, in the processes that torchrun starts.

Megatron asks for CUDA by name (`.cuda()`, device="cuda", torch.cuda.*) and compiles kernels at its start. Here the name
means the CPU, what torch.cuda reports is made up, and the package megatron-core gives what is compiled. Its arithmetic
is not touched.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from importlib.metadata import files
from importlib.util import module_from_spec, spec_from_file_location
from types import SimpleNamespace

COMPILES = "megatron.training.initialize"  # its _compile_dependencies runs make and nvcc


HELPERS = "megatron.core.datasets.helpers_cpp"


def load_helpers():
    """A checkout has no compiled functions of the data sets: those of the package are as good."""
    if PathFinder.find_spec(HELPERS, sys.modules["megatron.core.datasets"].__path__) is None:
        [path] = [file.locate() for file in files("megatron-core") if file.name.startswith("helpers_cpp")]
        spec = spec_from_file_location(HELPERS, path)
        sys.modules[HELPERS] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[HELPERS])


class WithoutCompiling(MetaPathFinder):
    """Takes the compilation out of the module that has it, as it is imported."""

    def find_spec(self, name, path=None, target=None):
        if name != COMPILES:
            return None
        spec = PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            module._compile_dependencies = load_helpers

        spec.loader.exec_module = exec_module
        return spec


def devices_are_cpus(torch):
    """A function mode in which a CUDA device, given by name, number or method, is the CPU."""
    cpu = torch.device("cpu")

    def changed(device):
        named = isinstance(device, (str, torch.device)) and str(device).startswith("cuda")
        return cpu if named or isinstance(device, int) else device

    class OnCpu(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            if function in (torch.Tensor.cuda, torch.Tensor.pin_memory):
                return args[0]
            if function is torch.Tensor.type and len(args) == 1:
                return function(*args).replace("torch.", "torch.cuda.")
            if "device" in kwargs:
                kwargs["device"] = changed(kwargs["device"])
            if function is torch.Tensor.to:
                args = tuple(changed(a) if isinstance(a, (str, torch.device)) else a for a in args)
            return function(*args, **kwargs)

    return OnCpu()


class Stream:
    """A stream or event of a device that computes at once."""

    def __init__(self, *args, **kwargs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def __getattr__(self, name):
        return lambda *args, **kwargs: 0.0 if name == "elapsed_time" else None


def made_up(torch):
    """What torch.cuda says of as many devices as this machine has processes."""
    nothing, zero = (lambda *a, **k: None), (lambda *a, **k: 0)
    tensors = ("FloatTensor", "IntTensor", "LongTensor", "DoubleTensor", "ByteTensor", "HalfTensor", "BFloat16Tensor")
    properties = SimpleNamespace(major=8, minor=0, multi_processor_count=1, total_memory=2**36, name="CPU")
    return {
        **dict.fromkeys(("set_device", "synchronize", "empty_cache", "reset_peak_memory_stats", "set_stream"), nothing),
        **dict.fromkeys(("_lazy_init", "init", "_lazy_call", "manual_seed", "manual_seed_all"), nothing),
        **dict.fromkeys(("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"), zero),
        **dict.fromkeys(("current_stream", "default_stream"), lambda *a, **k: Stream()),
        **{name: getattr(torch, name) for name in tensors},
        "memory_stats": lambda *a: {"num_alloc_retries": 0, "allocation.all.current": 0, "allocated_bytes.all.peak": 0,
                                    "allocated_bytes.all.current": 0, "reserved_bytes.all.current": 0},
        "is_available": lambda: True,
        "is_current_stream_capturing": lambda: False,
        "device_count": lambda: int(os.environ["LOCAL_WORLD_SIZE"]),
        "current_device": lambda: torch.device("cpu"),
        "get_device_capability": lambda *a: (8, 0),
        "get_device_name": lambda *a: "CPU",
        "get_device_properties": lambda *a: properties,
        "Stream": Stream,
        "Event": Stream,
        "stream": lambda stream: nullcontext(),
        "nvtx": SimpleNamespace(range_push=nothing, range_pop=nothing, range=lambda *a, **k: nullcontext()),
    }  # fmt: skip


def main():
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    import torch
    import torch._dynamo.trace_rules
    import torch.cuda.random

    torch._dynamo.trace_rules.get_torch_obj_rule_map()  # reads torch.cuda, before it is changed
    sys.meta_path.insert(0, WithoutCompiling())
    for name, value in made_up(torch).items():
        setattr(torch.cuda, name, value)
    for module in (torch.cuda, torch.cuda.random):
        module.get_rng_state = lambda *a, **k: torch.get_rng_state()
        module.set_rng_state = lambda *a, **k: None
    devices_are_cpus(torch).__enter__()


if "LOCAL_RANK" in os.environ:  # a process of torchrun
    main()
