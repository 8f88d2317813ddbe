# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A process of its own that puts away what a scenario has made, when the scenario is over or dead.

It is told of each thing on a pipe, before the thing is made; the end of the pipe is the signal.
So kill -9 of the driver leaves nothing behind either.
"""

import os
import shutil
import signal
import subprocess
import time


def start_time(pid):
    """Tells a process from another one that got its number later."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def quietly(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def kill_pid(pid, began):
    if start_time(pid) == began:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


def remove_namespace(name):
    for pid in quietly("ip", "netns", "pids", name).stdout.split():
        kill_pid(int(pid), start_time(pid))
    quietly("ip", "netns", "delete", name)


def put_away(things):
    for kind, *rest in things:
        if kind == "pid":
            kill_pid(int(rest[0]), rest[1])
    time.sleep(0.1)
    for kind, *rest in reversed(things):
        if kind == "netns":
            remove_namespace(rest[0])
        elif kind == "mount":
            if os.path.ismount(rest[0]):
                quietly("umount", "-l", rest[0])
        elif kind == "dir":
            shutil.rmtree(rest[0], ignore_errors=True)


class Janitor:
    def __init__(self):
        reader, self.writer = os.pipe()
        os.set_inheritable(self.writer, False)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.writer)
            self._run(reader)
        os.close(reader)

    @staticmethod
    def _run(reader):
        os.setsid()  # Ctrl-C is for the driver
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with os.fdopen(reader, encoding="utf-8") as f:
            things = [line.rstrip("\n").split("\t") for line in f]
        try:
            put_away(things)
        finally:
            os._exit(0)

    def note(self, *words):
        os.write(self.writer, ("\t".join(str(w) for w in words) + "\n").encode())

    def note_pid(self, pid):
        self.note("pid", pid, start_time(pid))

    def finish(self):
        os.close(self.writer)
        os.waitpid(self.pid, 0)
