"""Machine code of the kernels: numba makes it once, later processes load it without numba.

Importing numba and reviving its cached functions takes longer than parsing 100 MB of JSON, while
llvmlite, which numba is built on, links a finished object file in a few milliseconds. The file is
named by a hash of everything that it depends on (the sources of the kernels, the compiler, the
processor), so that it cannot be out of date.

A kernel gets arrays and nothing else, allocates nothing and returns a number. It runs without the
GIL.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import version
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from elara.inspection.text import Array
from elara.machine.caches import writable_cache

# What each kernel is given, array by array. A kernel is the function of this name in its module.
_TEXTS = "((i64, u8), (i64, u8), (i64, u8), i64)"
_TABLES = "(u8, i32, u8, u64, i16)"
KERNELS = {
    "native_text": {
        "measure": f"{_TEXTS}, {_TABLES}, u32, u32, i64, u64, u32, u64, u64, u64, u32, u32",
        "shingle_sets": f"{_TEXTS}, {_TABLES}, i64, i64, i64, u64, u64, u64",
        "hash_words": "i64, i64, u64",
    },
    "native_pairs": {
        "jaccard": "i64, u64, i64, i64, f64, u64",
        "repeated": "u32, u8, i64",
        "neighbours": "u64, i64, u64",
        "components": "i64, i64, i64",
    },
    "native_json": {
        "scan": "u8, u8, i64, u8, i64, i64",
    },
    "native_columns": {
        "gather": "u8, i64, i64, i64, u8, i32, u8",
    },
}
_TYPES = {
    "u8": "uint8",
    "i16": "int16",
    "i32": "int32",
    "u32": "uint32",
    "i64": "int64",
    "u64": "uint64",
    "f64": "float64",
}
_TOKEN = re.compile(r"\b[iuf]\d+\b")
_HERE = Path(__file__).parent
_LOADING = Lock()
# Modules whose numbers are compiled into the kernels.
_SHARED = ("compiled", "kernels", "machine", "lexicon", "lines", "measures", "text")


def call(kernel: str, *arrays: Array) -> int:
    """Call a kernel.

    Args:
        kernel: its name.
        arrays: what it reads and fills, of the types in `KERNELS`, each contiguous.

    Returns:
        What the kernel returns.
    """
    with _LOADING:  # by one thread, the others wait for it
        function, types = _loaded()[0][kernel]
    assert len(arrays) == len(types)
    for array, dtype in zip(arrays, types, strict=True):
        assert array.dtype == dtype, (kernel, array.dtype, dtype)
        assert array.flags.c_contiguous, kernel
    addresses = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
    lengths = (ctypes.c_int64 * len(arrays))(*(a.size for a in arrays))
    answer, error = ctypes.c_int64(), ctypes.c_void_p()
    if function(ctypes.byref(answer), ctypes.byref(error), addresses, lengths):
        raise RuntimeError(f"the kernel {kernel} failed: it is not meant to raise")
    return answer.value


@cache
def _loaded() -> tuple[dict[str, tuple[Callable[..., int], list[np.dtype[Any]]]], Any]:
    """Every kernel as a function of ctypes, with the types of its arrays; what owns their code."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple().create_target_machine(cpu, features, opt=3)
    name = kept_name(f"{version('numba')} {llvm.llvm_version_info} {cpu} {features}")
    code = _kept(name) or _keep(_compile(target), name)
    # What the code may call: three functions that a compiler takes for granted, and numba's hook
    # for freeing an array, which is never reached because kernels allocate none.
    symbols = {n: n for n in ("memcpy", "memmove", "memset")} | {"NRT_MemInfo_call_dtor": "abort"}
    for symbol, name in symbols.items():
        address = ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value
        llvm.add_symbol(symbol, address)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)
    found: dict[str, tuple[Callable[..., int], list[np.dtype[Any]]]] = {}
    for _, name, spec in _kernels():
        function = prototype(engine.get_function_address(_symbol(name)))
        found[name] = function, [np.dtype(_TYPES[t]) for t in _TOKEN.findall(spec)]
    return found, engine


def sources() -> list[Path]:
    """The files that decide about the machine code."""
    return [_HERE / f"{name}.py" for name in (*KERNELS, *_SHARED)]


def kept_name(machine: str) -> str:
    """The name of the file with the machine code: other sources or another machine, another file.

    Args:
        machine: compiler and processor.
    """
    digest = hashlib.sha256(machine.encode())
    for source in sources():
        digest.update(source.read_bytes())
    return f"kernels-{digest.hexdigest()[:24]}.o"


def _kept(name: str) -> bytes:
    """What an earlier process kept, else nothing."""
    for folder in _folders():
        with suppress(OSError):
            return (folder / name).read_bytes()
    return b""


def _keep(code: bytes, name: str) -> bytes:
    """Keep machine code where a folder lets us; where none does, the next process compiles it."""
    for folder in _folders():
        with suppress(OSError):
            _write(code, folder / name)
            break
    return code


def _folders() -> Iterator[Path]:
    """Beside the sources, and the user's cache where nothing can be written there."""
    beside = _HERE / "__pycache__"
    yield beside
    there = beside if beside.exists() else _HERE
    if not (there.is_dir() and os.access(there, os.W_OK)):
        with suppress(OSError):
            yield writable_cache()


def _kernels() -> Iterator[tuple[str, str, str]]:
    return ((module, n, spec) for module, every in KERNELS.items() for n, spec in every.items())


def _symbol(kernel: str) -> str:
    return f"elara_{kernel}"


def _compile(target: Any) -> bytes:
    """All kernels as one object file."""
    import llvmlite.binding as llvm
    import numba
    from numba import types

    signature = types.int64(types.CPointer(types.voidptr), types.CPointer(types.int64))
    whole = llvm.parse_assembly("")
    for module, name, spec in _kernels():
        kernel = getattr(import_module(f"elara.inspection.{module}"), name)
        counter = count()
        views = _TOKEN.sub(lambda t: _view(next(counter), t[0]), spec)  # noqa: B023
        names = {"kernel": kernel, "carray": numba.carray, "np": np}
        exec(f"def entry(p, n):\n    return kernel({views})", names)
        bare = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        entry = numba.njit(signature, error_model="numpy", **bare)(names["entry"])
        (made,) = entry.overloads.values()
        code = llvm.parse_assembly(made.library.get_llvm_str())
        code.get_function(made.fndesc.llvm_func_name).name = _symbol(name)
        whole.link_in(code)
    emitted: bytes = target.emit_object(whole)
    return emitted


def _view(number: int, kind: str) -> str:
    """Source code for an array argument, made of its address and length."""
    return f"carray(p[{number}], n[{number}], np.{_TYPES[kind]})"


def _write(code: bytes, path: Path) -> None:
    """Write a file so that another process sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(code)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
