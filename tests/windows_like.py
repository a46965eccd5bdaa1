"""Makes this Python as poor as Windows's: modules and functions that only Unix has are gone.

Third-party packages are of this system and may need them, so they are imported before.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from importlib import import_module

import spatialavatar

MODULES = (
    *("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "readline", "curses", "spwd"),
    *("crypt", "nis", "ossaudiodev"),
)
# What `os` has here and not on Windows, by Python's documentation ("Availability: Unix"), without `statvfs`, through
# which `shutil.disk_usage` asks here.
FUNCTIONS = (
    *("chown", "chroot", "confstr", "confstr_names", "copy_file_range", "ctermid", "eventfd", "fchdir", "fchmod"),
    *(
        "fchown",
        "fdatasync",
        "fork",
        "forkpty",
        "fpathconf",
        "fstatvfs",
        "getegid",
        "geteuid",
        "getgid",
        "getgrouplist",
    ),
    *("getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getresgid", "getresuid", "getsid", "getuid"),
    *("getxattr", "initgroups", "killpg", "lchown", "listxattr", "lockf", "major", "makedev", "memfd_create", "minor"),
    *("mkfifo", "mknod", "nice", "openpty", "pathconf", "pipe2", "posix_fadvise", "posix_fallocate", "posix_openpt"),
    *(
        "posix_spawn",
        "posix_spawnp",
        "pread",
        "preadv",
        "pwrite",
        "pwritev",
        "readv",
        "register_at_fork",
        "removexattr",
    ),
    *(
        "sched_get_priority_max",
        "sched_getaffinity",
        "sched_getscheduler",
        "sched_rr_get_interval",
        "sched_setaffinity",
    ),
    *("sched_setscheduler", "sched_yield", "sendfile", "setegid", "seteuid", "setgid", "setgroups", "setpgid"),
    *("setpriority", "setregid", "setresgid", "setresuid", "setreuid", "setsid", "setuid", "setxattr", "splice"),
    *("sync", "sysconf", "sysconf_names", "tcgetpgrp", "tcsetpgrp", "ttyname", "uname", "unshare", "wait"),
    *("wait3", "wait4", "waitid", "writev", "WNOHANG", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW"),
    *("O_SYNC", "O_DSYNC", "O_NOCTTY", "O_PATH", "O_TMPFILE"),
)
SIGNALS = (
    *("SIGHUP", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGCHLD", "SIGCONT", "SIGSTOP"),
    *(
        "SIGTSTP",
        "SIGWINCH",
        "setitimer",
        "alarm",
        "pause",
        "pthread_kill",
        "pthread_sigmask",
        "sigwait",
        "siginterrupt",
    ),
)


def names() -> list[str]:
    """Every module of the package."""
    found = pkgutil.walk_packages(spatialavatar.__path__, "spatialavatar.")
    return sorted(module.name for module in found if module.name != "spatialavatar._native")


def import_everything() -> None:
    for name in names():
        import_module(name)


def forget_everything() -> None:
    """All modules of the package but the compiled one, which Python loads once."""
    for name in [name for name in sys.modules if name.split(".")[0] == "spatialavatar"]:
        if name != "spatialavatar._native":
            del sys.modules[name]


def take_away() -> None:
    """What only Unix has."""
    import signal
    import socket

    for module in MODULES:
        sys.modules[module] = None  # type: ignore[assignment]
    for owner, gone in ((os, FUNCTIONS), (signal, SIGNALS), (socket, ("AF_UNIX", "SO_REUSEPORT"))):
        for name in gone:
            if hasattr(owner, name):
                delattr(owner, name)


def main() -> None:
    import_everything()
    forget_everything()
    take_away()
    import_everything()
    from spatialavatar.cli.doctor import examine
    from spatialavatar.memory import peak_memory_mb

    assert peak_memory_mb() is None
    problems = [finding for finding in examine() if finding.state == "missing"]
    if problems:
        sys.exit(f"doctor finds {problems}")
    print(f"{len(names())} modules")


if __name__ == "__main__":
    main()
