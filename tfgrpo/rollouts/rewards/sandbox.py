"""What a process may no longer do: limits, and on Linux neither files, processes nor the network outside of a folder.

Loaded by path in the process that runs untrusted code, so it imports nothing of the package. Each part says whether it
took hold; what did not is told.
"""

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable

_READABLE = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/dev/zero")
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _SET_DUMPABLE = 38, 22, 4
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_THREAD = 0x00010000
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_DENIED = {
    # fork vfork execve execveat kill tkill tgkill ptrace process_vm_* pidfd_* socket socketpair unshare setns mount
    # umount2 pivot_root chroot reboot bpf io_uring_setup perf_event_open keyctl chmod chown setxattr utime, their kin;
    # setpgid and setsid, by which a process would outlive its group
    "x86_64": (
        57, 58, 59, 322, 62, 200, 234, 129, 297, 101, 310, 311, 434, 424, 438, 41, 53, 272, 308, 165, 166, 155, 161,
        169, 321, 425, 298, 250, 248, 249, 90, 91, 92, 93, 94, 260, 268, 452, 188, 189, 190, 132, 235, 280, 261, 29,
        30, 31, 64, 68, 69, 71, 141, 142, 144, 203, 442, 429, 428, 430, 165, 109, 112,
    ),
    "aarch64": (
        221, 281, 129, 130, 131, 138, 240, 117, 270, 271, 434, 424, 438, 198, 199, 97, 268, 40, 39, 41, 51, 142, 280,
        425, 241, 219, 217, 218, 52, 53, 54, 55, 452, 5, 6, 7, 88, 194, 195, 196, 190, 186, 187, 189, 140, 118, 119,
        122, 442, 429, 428, 430, 154, 157,
    ),
}  # fmt: skip
_CLONE = {"x86_64": (56, 435), "aarch64": (220, 435)}


def confined(folder: str, seconds: float, memory: int, file_bytes: int) -> list[str]:
    """Confine this process for good; what could not be."""
    _limit(seconds, memory, file_bytes)
    failed = [
        what for what, part in (("files", _files), ("processes and the network", _calls)) if not _tried(part, folder)
    ]
    sys.addaudithook(_watch(folder))
    return failed


def unseen() -> None:
    """On Linux no other process of the same user may read or change the memory of this one."""
    if sys.platform.startswith("linux"):
        _library().prctl(_SET_DUMPABLE, 0, 0, 0, 0)


def _limit(seconds: float, memory: int, file_bytes: int) -> None:
    whole = int(seconds) + 1
    limits = {
        resource.RLIMIT_CPU: whole,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    if os.getuid() and not sys.platform.startswith("linux"):
        limits[resource.RLIMIT_NPROC] = 64
    for which, most in limits.items():
        hard = resource.getrlimit(which)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        last = value + 1 if which == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else value
        try:
            resource.setrlimit(which, (value, last))
        except (OSError, ValueError):
            continue  # macOS knows no limit of the address space


def _tried(part: Callable[[str], bool], folder: str) -> bool:
    try:
        return part(folder)
    except Exception:
        return False


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return library


def _files(folder: str) -> bool:
    """By Landlock: nothing is written outside of the folder, and little read."""
    if not sys.platform.startswith("linux"):
        return False
    library = _library()
    version = library.syscall(444, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    handled = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    rules = library.syscall(444, ctypes.byref(ctypes.c_uint64(handled)), ctypes.c_size_t(8), 0)
    if rules < 0:
        return False
    readable = {
        *_READABLE,
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        os.path.dirname(os.path.realpath(sys.executable)),
    }
    allowed = {path: _EXECUTE | _READ | _LIST for path in readable}
    for path, rights in {**allowed, "/dev/null": _READ | _WRITE, folder: handled & ~_EXECUTE}.items():
        if os.path.exists(path):
            own = rights if os.path.isdir(path) else rights & (_EXECUTE | _READ | _WRITE)
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            library.syscall(445, rules, 1, ctypes.create_string_buffer(struct.pack("=Qi", own, opened)), 0)
            os.close(opened)
    held = library.syscall(446, rules, 0) == 0
    os.close(rules)
    return bool(held)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _calls(folder: str) -> bool:
    """By seccomp: no process is started or signalled, no socket opened, no owner or mode changed."""
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in _DENIED:
        return False
    rules = _rules(machine)
    packed = b"".join(struct.pack("=HBBI", *rule) for rule in rules)
    buffer = ctypes.create_string_buffer(packed)
    program = _Program(len(rules), ctypes.cast(buffer, ctypes.c_void_p))
    return bool(_library().prctl(_SET_SECCOMP, 2, ctypes.byref(program), 0, 0) == 0)


def _rules(machine: str) -> list[tuple[int, int, int, int]]:
    """The filter in the kernel's BPF: (operation, jump if so, jump if not, operand)."""
    load, equal, above, has, give = 0x20, 0x15, 0x35, 0x45, 0x06
    clone, clone3 = _CLONE[machine]
    rules = [
        (load, 0, 0, 4), (equal, 1, 0, _ARCHITECTURES[machine]), (give, 0, 0, _EPERM),
        (load, 0, 0, 0), (above, 0, 1, 0x40000000), (give, 0, 0, _EPERM),
        (equal, 0, 1, clone3), (give, 0, 0, _ENOSYS),
    ]  # fmt: skip
    for number in sorted(set(_DENIED[machine])):
        rules += [(equal, 0, 1, number), (give, 0, 0, _EPERM)]
    threads = [(equal, 0, 3, clone), (load, 0, 0, 16), (has, 1, 0, _THREAD), (give, 0, 0, _EPERM)]
    return [*rules, *threads, (give, 0, 0, _ALLOW)]


_EVENTS = (
    "socket.", "subprocess.", "os.system", "os.fork", "os.posix_spawn", "os.exec", "os.spawn", "os.kill",
    "os.startfile", "pty.", "ftplib.", "urllib.", "http.client", "smtplib.",
)  # fmt: skip
_CHANGES = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.symlink",
    "os.truncate",
)


def _watch(folder: str) -> Callable[[str, tuple[object, ...]], None]:
    """The same by Python's own audit: an error that says what is wrong, and all that there is on other systems."""
    inside = os.path.realpath(folder)

    def is_outside(path: object) -> bool:
        if isinstance(path, int) or path is None:
            return False
        return not (os.path.realpath(os.fsdecode(path)) + os.sep).startswith(inside + os.sep)  # pyrefly: ignore[bad-argument-type]  # of the caller

    def seen(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(_EVENTS):
            raise PermissionError(f"{event} is not allowed here")
        if event == "open" and len(arguments) == 3:
            path, mode, flags = arguments
            writes = isinstance(mode, str) and any(sign in mode for sign in "wax+")
            writes = writes or (isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))
            if writes and path != os.devnull and is_outside(path):
                raise PermissionError("writing outside of the folder is not allowed here")
        if event.startswith(_CHANGES) and is_outside(arguments[0]):
            raise PermissionError(f"{event} outside of the folder is not allowed here")

    return seen
