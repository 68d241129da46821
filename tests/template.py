"""A process that has loaded all libraries, of which tests have others forked; see tests/processes.py.

Fork, not start: what a forked process does, and how it ends, is what Python does with the same arguments, but the
libraries, which take seconds to load, are there. It ends with the last test process that holds it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import socket
import sys
import types
from contextlib import suppress
from pathlib import Path

NOT_LOADED = ("dfc.bench", "dfc.ui")
"""Pages make caches where they are imported, which must belong to an app."""
FIRST = ("streamlit.web.cli", "streamlit.web.server.starlette", "uvicorn", "anyio._backends._asyncio")
"""What an app loads at its start, before its pages load nnsight: that adds to `object`, which anyio cannot bear."""
THEN = ("transformers.models.llama.modeling_llama", "transformers.models.gemma3.modeling_gemma3")


def load() -> None:
    """Import what the commands of dfc import, and what its pages do."""
    for name in FIRST:
        importlib.import_module(name)
    import dfc

    for module in pkgutil.walk_packages(dfc.__path__, "dfc."):
        if not module.name.startswith(NOT_LOADED) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in THEN:
        importlib.import_module(name)


def serve(address: str) -> list[str]:
    """Fork for whoever asks, until nobody holds this process; returns in a forked one, with its arguments."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen(64)
    os.rename(f"{address}.new", address)  # who finds it can connect
    holders: list[socket.socket] = []
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # keepers of those that have ended
                pass
        for ready in select.select([listener, *holders], [], [])[0]:
            if ready is not listener:
                ready.close()  # nothing is ever said on it: it has ended
                holders.remove(ready)
                continue
            connection, _ = listener.accept()
            text, streams, *_ = socket.recv_fds(connection, 1 << 20, 3)
            if not streams:
                holders.append(connection)
            elif os.fork() == 0:
                listener.close()
                for holder in holders:
                    holder.close()
                return _begun(connection, json.loads(text), streams)
            else:
                connection.close()
                for stream in streams:
                    os.close(stream)
        if not holders:
            os.unlink(address)
            with suppress(ChildProcessError):
                while True:
                    os.wait()
            sys.exit()


def _begun(connection: socket.socket, request: dict[str, object], streams: list[int]) -> list[str]:
    """In a keeper: fork once more, and tell the asker the number and the end of that process, where this returns."""
    child = os.fork()
    if child:
        connection.sendall(f"{child}\n".encode())
        for stream in streams:
            os.close(stream)
        status = os.waitpid(child, 0)[1]
        try:
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        finally:
            os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(str(request["folder"]))
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]
    return list(request["arguments"])  # type: ignore[call-overload]


def run(arguments: list[str]) -> None:
    """What Python does with `-m module …` or `-c code …`."""
    kind, what, *rest = arguments
    sys.argv = [kind, *rest]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), main.__dict__)


def _threads() -> list[str]:
    """Names of the threads beside the first, without that of jemalloc (pyarrow's), which knows of forks."""
    tasks = [task for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid())]
    return [name for task in tasks if (name := (task / "comm").read_text().strip()) != "jemalloc_bg_thd"]


if __name__ == "__main__":
    load()
    assert not _threads(), f"{_threads()}: another thread may hold a lock, which a fork would wait for"
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all pages
    run(serve(sys.argv[1]))
