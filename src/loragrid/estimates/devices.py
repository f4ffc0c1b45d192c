"""The devices that an estimate can be made for."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace

from loragrid.errors import UserError

GIB = 2**30


@dataclass(frozen=True)
class Device:
    """What an estimate needs to know of a device.

    Args:
        name: as in `--device`.
        marks: what its full name has in it, as torch and Slurm write it (lower case).
        memory: bytes of its own memory; None for a CPU, which uses the host's.
        half: bytes of a number in the precision called 16bit.
        rate: operations a second that it sustains in large matrix products of a training.
        dequantised: NF4 weights a second that it unpacks for a product.
        elementwise: bytes a second, of what a layer keeps for its backward pass, at which everything that is no matrix
            product goes: each byte is read and written many times.
        bandwidth: bytes a second at which weights are read in generation.
        layer_seconds: time that a decoder layer takes in training however small its products are: launching kernels.
        token_seconds: the same for one new token in generation.
        loaded: parameters a second that are read and, with NF4, packed.
        start_seconds: imports and the first use of the device.
        host_memory: bytes that a job's process takes on the host beside the model: libraries, CUDA, buffers.
        context: bytes that CUDA itself takes on the GPU.
    """

    name: str
    marks: tuple[str, ...]
    memory: int | None
    half: int
    rate: float
    dequantised: float
    elementwise: float
    bandwidth: float
    layer_seconds: float
    token_seconds: float
    loaded: float
    start_seconds: float
    host_memory: float
    context: float

    @property
    def is_gpu(self) -> bool:
        """Whether it has memory of its own, and trains with recomputed activations."""
        return self.memory is not None

    def is_called(self, name: str) -> bool:
        """Whether a device's full name, such as `Tesla T4` or `cpu (x86_64)`, is one of this kind."""
        return any(re.search(rf"(?<![a-z0-9]){mark}(?![0-9])", name.lower()) for mark in self.marks)


def _gpu(name: str, marks: tuple[str, ...], *, memory: float, half: int, rate: float, bandwidth: float) -> Device:
    """A GPU, from its datasheet and from what litgpt measured on an A100.

    litgpt's tutorials/resource-tables.md (A100 40 GB, Alpaca, LoRA of rank 8 on two matrices a layer): an iteration of
    Llama 2 7B over one row takes 142 ms in bf16, nearly all of it launches, since a second row adds 10 ms; NF4 with
    double quantisation adds 88 ms, for 2 × 6.5e9 weights. That is 3.8 ms a layer, taken twice here for seven adapted
    matrices and recomputed activations; and 1.5e11 weights a second, which goes with the bandwidth of the memory. Its
    31 tokens a second in generation are 0.7 ms a layer, likewise doubled for the adapter.
    """
    return Device(
        name=name,
        marks=marks,
        memory=int(memory * GIB),
        half=half,
        rate=rate,
        dequantised=1.5e11 * bandwidth / 1555e9,
        elementwise=0.8 * bandwidth / 20,  # assumed: twenty passes at 80 % of the bandwidth
        bandwidth=0.8 * bandwidth,
        layer_seconds=8e-3,
        token_seconds=1.5e-3,
        loaded=0.5e9,  # assumed: 1 GB/s from a shared disk
        start_seconds=60,  # assumed: imports from a shared disk, the start of CUDA
        host_memory=4 * GIB,  # assumed
        context=0.5 * GIB,  # assumed
    )


DEVICES = {
    device.name: device
    for device in (
        # Memory: what CUDA reports as total. Bandwidth and peak: NVIDIA's datasheets. A T4 sustains 14 % of its
        # 65e12 (70 W limit its clock; that is what Llama 2 7B reaches in LoRA training); of the peaks of the other
        # two, 125e12 and 312e12, 40 % are assumed, below the 46 % of PaLM (Chowdhery et al. 2022, table 3).
        _gpu("t4", ("t4",), memory=14.7, half=2, rate=9e12, bandwidth=320e9),
        _gpu("v100", ("v100",), memory=15.8, half=2, rate=50e12, bandwidth=900e9),
        _gpu("a100", ("a100",), memory=39.4, half=2, rate=125e12, bandwidth=1555e9),
        # Of these nothing was measured; 40 % of the datasheet's dense peak in 16 bits, as above.
        _gpu("a10", ("a10",), memory=22.0, half=2, rate=50e12, bandwidth=600e9),
        _gpu("a40", ("a40",), memory=44.3, half=2, rate=60e12, bandwidth=696e9),
        _gpu("l4", ("l4",), memory=22.0, half=2, rate=48e12, bandwidth=300e9),
        _gpu("l40s", ("l40s", "l40"), memory=44.3, half=2, rate=145e12, bandwidth=864e9),
        _gpu("h100", ("h100",), memory=79.1, half=2, rate=395e12, bandwidth=3350e9),
        # One thread of an x86 server core, measured with benchmarks/estimates.py; `for_this_machine` fits the rates.
        Device(
            name="cpu",
            marks=("cpu",),
            memory=None,
            half=4,
            rate=92e9,
            dequantised=1.1e9,
            elementwise=0.41e9,
            bandwidth=13e9,
            layer_seconds=0,
            token_seconds=2.1e-3,
            loaded=30e6,
            start_seconds=4.0,
            host_memory=520 * 2**20,
            context=0,
        ),
    )
}
"""Devices by name."""

DEFAULT = "t4"

CPU_PRODUCT = 100e9
"""Operations a second of `_PRODUCT` on the machine that the CPU's figures were measured on."""

_PRODUCT = """
import time, numpy
a = numpy.ones((1024, 1024), dtype=numpy.float32)
def once():
    began = time.process_time()
    a @ a
    return time.process_time() - began
once()
print(2 * 1024**3 / min(once() for _ in range(40)))
"""


def find_device(name: str) -> Device:
    """A device by its name.

    Raises:
        UserError: it is not known; the message lists those that are.
    """
    if name not in DEVICES:
        raise UserError(f"device: {name!r} is not known; there are {', '.join(DEVICES)}")
    return DEVICES[name]


def for_this_machine(cpu: Device) -> Device:
    """A CPU whose rates are this machine's: a matrix product on one thread is timed, and all rates are scaled by it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", _PRODUCT], env=environment, capture_output=True, text=True, check=True)
    faster = float(done.stdout) / CPU_PRODUCT
    return replace(
        cpu,
        rate=cpu.rate * faster,
        dequantised=cpu.dequantised * faster,
        elementwise=cpu.elementwise * faster,
        bandwidth=cpu.bandwidth * faster,
        token_seconds=cpu.token_seconds / faster,
        loaded=cpu.loaded * faster,
        start_seconds=cpu.start_seconds / faster,
    )
