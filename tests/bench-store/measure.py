# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How long a command takes, what memory it needs, and how to make the page cache forget a file."""

import os
import statistics
import subprocess
import tempfile
import threading
import time

WARM_RUNS = 3
ENOUGH_S = 4  # no more runs once they have taken so long


class TooSlow(RuntimeError):
    """A command did not end within its time."""


class Ran:
    """Of one command: what it printed, and what it took."""

    def __init__(self, stdout, seconds, usage):
        self.stdout, self.seconds = stdout, seconds
        self.cpu_s = usage.ru_utime + usage.ru_stime
        # Not below what this program had when it started the command: about 20 MB.
        self.peak_bytes = usage.ru_maxrss * 1024


def run(command, limit_s, stdin=None):
    """Runs it as a process of its own; raises TooSlow, or RuntimeError with what it said."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=err
        )
        expired = threading.Event()

        def end():
            expired.set()
            process.kill()

        timer = threading.Timer(limit_s, end)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            timer.cancel()
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        said = err.read().decode(errors="replace").strip()
        if expired.is_set():
            raise TooSlow(f"not within {limit_s} s")
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {said or process.returncode}")
        ran = Ran(out.read().decode(errors="replace"), seconds, usage)
        ran.stderr = said
        return ran


def files_below(*paths):
    for path in paths:
        if os.path.isfile(path):
            yield path
        for folder, _, names in os.walk(path):
            yield from (os.path.join(folder, name) for name in names)


def size_of(*paths):
    return sum(os.path.getsize(path) for path in files_below(*paths))


def forget(*paths):
    """Their pages leave the page cache; the rest of the machine is left alone."""
    for path in files_below(*paths):
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # a server tidies up
            continue
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def cold_and_warm(ask, files):
    """ask() gives (answer, seconds, peak). The first time without the files' pages."""
    forget(*files)
    answer, cold_s, peak = ask()
    warm = []
    while len(warm) < WARM_RUNS and sum(warm) < ENOUGH_S:
        _, seconds, more = ask()
        warm.append(seconds)
        peak = max(peak, more)
    return {
        "answer": answer,
        "cold_s": round(cold_s, 4),
        "warm_s": round(statistics.median(warm), 4),
        "peak_bytes": peak,
    }
