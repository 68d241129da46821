"""Where tensors are computed, and in which precision the hardware is fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

from dfc.config import UserError
from dfc.machine.workers import Worker

Result = TypeVar("Result")
Item = TypeVar("Item")
P = ParamSpec("P")


def pick(name: str) -> torch.device:
    """The device of a setting: `auto` is CUDA where there is one.

    Raises:
        UserError: if there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros((), device=name).device
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name}: cannot be used ({reason:.120}); give cpu, cuda, cuda:N or auto.") from None


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it in hardware, else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities()
        fast = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if fast else torch.float32


def apart(work: Callable[P, Result]) -> Callable[P, Result]:
    """A function that runs in a thread which ends with it.

    OpenMP keeps helpers for every thread that has computed, as long as it lives. With more helpers than cores it lets
    them sleep at once instead of waiting for the next piece of work, and wakes them for each: a text that another
    thread writes takes a quarter longer (measured with Gemma-3-270m on two cores). So what is done before and between
    texts leaves none behind.
    """

    @wraps(work)
    def done(*args: P.args, **kwargs: P.kwargs) -> Result:
        outcome: Future[Result] = Future()

        def run() -> None:
            try:
                outcome.set_result(work(*args, **kwargs))
            except BaseException as error:  # raised again in the calling thread
                outcome.set_exception(error)

        thread = Worker(run, work.__name__)
        thread.start()
        thread.join()
        return outcome.result()

    return done


def in_halves(
    work: Callable[[Sequence[Item]], Result],
    batch: Sequence[Item],
    device: torch.device,
    least: Callable[[Item], str],
) -> Iterator[tuple[Sequence[Item], Result]]:
    """What a model's work gives for a batch: at once, or half by half where the memory is too small for it.

    Args:
        work: is done on the device.
        batch: what the work is done on, one item at least.
        device: where it is done.
        least: for what there is no memory, and what to do, if a single item is too much.

    Returns:
        Parts of the batch, in its order, and what the work gave for each.

    Raises:
        UserError: if the memory is too small for a single item.
    """
    try:
        found = work(batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise UserError(
                f"models: {device} has no memory for {least(batch[0])}, use half precision (dtype), "
                f"or spread the model (device_map: auto)."
            ) from None
    else:
        yield batch, found
        return
    if device.type == "cuda":
        torch.cuda.empty_cache()
    half = len(batch) // 2
    for part in (batch[:half], batch[half:]):
        yield from in_halves(work, part, device, least)
