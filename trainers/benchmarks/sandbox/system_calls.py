"""The system calls that a program in a sandbox may not make, as a filter of the kernel (seccomp): those that make
namespaces, mount, trace other processes, or reach parts of the kernel that no program of a benchmark needs.
"""

from __future__ import annotations

import platform
import struct

# Numbers of include/uapi/asm-generic/unistd.h (aarch64) and arch/x86/entry/syscalls/syscall_64.tbl.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
REFUSED = {
    "x86_64": {
        *(101, 155, 165, 166, 167, 168),  # ptrace, pivot_root, mount, umount2, swapon, swapoff
        *(169, 175, 176, 246, 248, 249, 250),  # reboot, init_module, delete_module, kexec_load, add_key, request_key,
        *(272, 298, 304, 308, 310, 311),  # keyctl, unshare, perf_event_open, open_by_handle_at, setns, process_vm_*
        *(313, 320, 321, 323, 425),  # finit_module, kexec_file_load, bpf, userfaultfd, io_uring_setup
        *(428, 429, 430, 431, 432, 442),  # open_tree, move_mount, fsopen, fsconfig, fsmount, mount_setattr
    },
    "aarch64": {
        *(117, 41, 40, 39, 224, 225, 142, 105, 106, 104, 217, 218, 219, 97, 241, 265, 268, 270, 271),
        *(273, 294, 280, 282, 425, 428, 429, 430, 431, 432, 442),
    },
}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
NAMESPACES = 0x7E020080  # CLONE_NEW*: the flags of clone that make a namespace
LOAD, JUMP_EQUAL, JUMP_SET, JUMP_MORE, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
X32 = 0x40000000  # another numbering of the same calls on x86_64


def refusing() -> bytes | None:
    """The filter as the kernel reads it, a list of struct sock_filter; None on a machine of another architecture."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        return None
    lines = [
        (LOAD, 0, 0, 4),  # the architecture
        (JUMP_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),  # the number of the call
        (JUMP_MORE, 0, 1, X32),
        (RETURN, 0, 0, ENOSYS),
        (JUMP_EQUAL, 0, 1, CLONE3),  # its flags are in memory, where no filter sees them: libraries then take clone
        (RETURN, 0, 0, ENOSYS),
    ]
    for number in sorted(REFUSED[machine]):
        lines += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, EPERM)]
    lines += [
        (JUMP_EQUAL, 0, 3, CLONE[machine]),
        (LOAD, 0, 0, 16),  # the lower half of its first argument
        (JUMP_SET, 0, 1, NAMESPACES),
        (RETURN, 0, 0, EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
