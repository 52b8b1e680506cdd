"""What a native function's process may not ask of Linux, whoever's process it is: a filter of system calls. Runs before python_sandbox.py."""

# Numbers on x86_64 and aarch64; None: there is no such call.
GUARDED_CALLS = {
    # Signals: processes of the same user are other clients' functions, or the server.
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    # Other processes: made, become, read, slowed down.
    "clone": (56, 220), "fork": (57, None), "vfork": (58, None), "clone3": (435, 435),
    "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "kcmp": (312, 272),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "setpriority": (141, 140), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # Its end with the server's.
    "prctl": (157, 167),
    # The network, and sockets in the file system, which a network namespace leaves open.
    "socket": (41, 198), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # Memory that is not the process's, and outlives it.
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "semop": (65, 193),
    "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219),
    # Namespaces, in which everybody is root, and what needs nobody's leave.
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "bpf": (321, 280), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    # Files: made, named, removed, emptied. Opening them is looked at by its flags.
    "creat": (85, None), "openat2": (437, 437), "mkdir": (83, None), "mkdirat": (258, 34),
    "rmdir": (84, None), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "mknod": (133, None), "mknodat": (259, 33),
    "truncate": (76, 45), "ftruncate": (77, 46), "chmod": (90, None), "fchmod": (91, 52),
    "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}
# Refused by an argument, counted from 0, where it has any of some bits: all flags that write or make, all
# numbers of processes but 0, oneself; or where it is one of some values, what has the kernel signal a process.
GUARDED_ARGUMENTS = {
    "open": ((2, None), 1, "writes"), "openat": ((257, 56), 2, "writes"),
    "prlimit64": ((302, 261), 0, "others"),
    # F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY
    "fcntl": ((72, 25), 1, (8, 10, 15, 1024, 1026)),
    # FIOSETOWN, SIOCSPGRP: of the pairs of sockets that event loops make.
    "ioctl": ((16, 29), 1, (0x8901, 0x8902)),
}
# The last call known here (mseal): what a later kernel adds is not there.
LAST_CALL = 462


def guard():
    """Installs the filter, for good, and ends the process when its parent ends. Raises what says why it cannot."""
    import ctypes, errno, os, struct, sys

    machine = os.uname().machine
    column = ("x86_64", "aarch64").index(machine) if machine in ("x86_64", "aarch64") else None
    if not sys.platform.startswith("linux") or column is None or sys.maxsize < 2**32:
        raise OSError("known on 64-bit Linux of x86_64 and aarch64, not on %s of %s" % (sys.platform, machine))
    architecture = (0xC000003E, 0xC00000B7)[column]
    bits = {
        "writes": os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY),
        "others": 0xFFFFFFFF,
    }
    load, equal, larger, any_bit, answer = 0x20, 0x15, 0x25, 0x45, 0x06
    allow = (answer, 0, 0, 0x7FFF0000)
    refuse = lambda number: (answer, 0, 0, 0x00050000 | number)
    program = [
        (load, 0, 0, 4), (equal, 1, 0, architecture), refuse(errno.EPERM),
        (load, 0, 0, 0), (larger, 0, 1, LAST_CALL), refuse(errno.ENOSYS),
    ]
    for numbers in GUARDED_CALLS.values():
        if numbers[column] is not None:
            program += [(equal, 0, 1, numbers[column]), refuse(errno.EPERM)]
    for numbers, argument, what in GUARDED_ARGUMENTS.values():
        if numbers[column] is not None:
            tests = [(any_bit, bits[what])] if what in bits else [(equal, value) for value in what]
            program += [(equal, 0, 2 + 2 * len(tests), numbers[column]), (load, 0, 0, 16 + 8 * argument)]
            for test, value in tests:
                program += [(test, 0, 1, value), refuse(errno.EPERM)]
            program.append(allow)
    program.append(allow)

    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option, *values):
        given = [ctypes.c_ulong(value) for value in (values + (0, 0, 0, 0))[:4]]
        if libc.prctl(option, *given) != 0:
            number = ctypes.get_errno()
            raise OSError(number, "prctl(%d): %s" % (option, os.strerror(number)))

    prctl(1, 9)  # PR_SET_PDEATHSIG: SIGKILL
    prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    prctl(22, 2, ctypes.addressof(header))  # PR_SET_SECCOMP: a filter
