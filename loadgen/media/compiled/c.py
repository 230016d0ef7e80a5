"""C functions that compiled code calls by their addresses: sockets, libsrtp, and AES and SHA-1 of OpenSSL.

The socket functions are in the C library, libsrtp is inside pylibsrtp, and OpenSSL is inside that libsrtp.
The addresses differ from process to process. They are arguments of the compiled functions and not constants, so that
the machine code can be kept on disk between runs.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from llvmlite.binding import get_host_cpu_features  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from pylibsrtp import Session, _binding

from trunkproof.models.errors import TrunkproofError

_LIBC = [
    "clock_gettime",
    "memcpy",
    "ppoll",
    "pthread_mutex_lock",
    "pthread_mutex_unlock",
    "read",
    "recvmmsg",
    "sendto",
]
_PROCESS = "srtp_err_status_t(*)(struct srtp_ctx_t_ *, void *, int *)"
_LIBSRTP = {
    "srtp_protect": _PROCESS,
    "srtp_protect_rtcp": _PROCESS,
    "srtp_unprotect": _PROCESS,
    "srtp_unprotect_rtcp": _PROCESS,
    "srtp_remove_stream": "srtp_err_status_t(*)(struct srtp_ctx_t_ *, unsigned int)",
}
OPENSSL = ["aesni_ctr32_encrypt_blocks", "aesni_set_encrypt_key", "sha1_block_data_order"]
"""Functions of OpenSSL on x86-64. They work on the caller's memory and allocate nothing."""
FUNCTIONS = np.dtype([(name, "i8") for name in (*_LIBC, *_LIBSRTP, *OPENSSL)])
"""The address of each function. Those of `OPENSSL` are all 0 where one is missing: libsrtp does their work then."""


class NoSuchFunctionError(TrunkproofError):
    """This machine or this pylibsrtp lacks a C function, or has it in a form that compiled code does not know."""


def functions() -> Any:
    """Return a record of `FUNCTIONS` with the addresses in this process.

    Raises:
        NoSuchFunctionError: one is missing, or has another signature than we know.
    """
    if sys.platform != "linux" or sys.byteorder != "little" or sys.maxsize < 1 << 32:
        raise NoSuchFunctionError("the compiled pump knows only the sockets of 64-bit little-endian Linux")
    found = np.zeros(1, FUNCTIONS)
    # The functions of this process itself: the C library is loaded in it already.
    library = ctypes.CDLL(None)
    for name in _LIBC:
        found[name] = _libc_address(library, name)
    for name in _LIBSRTP:
        found[name] = _libsrtp_address(name)
    for name, address in _openssl_addresses().items():
        found[name] = address
    return found[0]


def _libc_address(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        raise NoSuchFunctionError(f"this C library has no {name}") from None


def _libsrtp_address(name: str) -> int:
    ffi = _binding.ffi
    try:
        function = ffi.addressof(_binding.lib, name)
        signature = ffi.typeof(function).cname
    except (AttributeError, TypeError):
        raise NoSuchFunctionError(f"{name} cannot be found inside pylibsrtp") from None
    # Called with other arguments than it expects, it would write over memory.
    if signature != _LIBSRTP[name]:
        raise NoSuchFunctionError(f"{name} inside pylibsrtp has an unknown signature: {signature}")
    return int(ffi.cast("uintptr_t", function))


def _openssl_addresses() -> dict[str, int]:
    """Return the addresses of `OPENSSL`, or nothing where this processor or this pylibsrtp lacks one of them."""
    # OpenSSL has these functions on any x86-64, but calling them without AES-NI is an illegal instruction.
    if not get_host_cpu_features().get("aes"):
        return {}
    # OpenSSL is linked into this file, and no other copy of it must be used.
    library = ctypes.CDLL(_binding.__file__)
    try:
        return {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in OPENSSL}
    except AttributeError:
        return {}


def session_address(session: Session) -> int:
    """Return the address of libsrtp's session. It is valid as long as the session object lives."""
    return int(_binding.ffi.cast("uintptr_t", session._srtp[0]))


def _call_c(typing_context: Any, address: Any, arguments: Any) -> Any:

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address, packed = values
        word = ir.IntType(64)
        words = [
            context.cast(builder, builder.extract_value(packed, place), kind, types.int64)
            for place, kind in enumerate(signature.args[1])
        ]
        function = ir.FunctionType(ir.IntType(32), [word] * len(words))
        return builder.sext(builder.call(builder.inttoptr(address, function.as_pointer()), words), word)

    return types.int64(types.int64, arguments), generate


call_c: Callable[[int, tuple[int, ...]], int] = cast("Any", intrinsic(_call_c))
"""`call_c(address, (a, b, ...))`: call the C function at an address, and return its result as an int.

Arguments are integers and pointers. Each is passed as 64 bits, which is right for both on 64-bit machines.
"""


def _prefetch(typing_context: Any, address: Any) -> Any:

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        # The numbers mean: for writing, into the innermost cache, as data.
        builder.call(function, [builder.inttoptr(values[0], pointer), number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(types.int64), generate


prefetch: Callable[[int], None] = cast("Any", intrinsic(_prefetch))
"""Have the processor fetch the 64 bytes around an address into its cache, while it does something else."""
