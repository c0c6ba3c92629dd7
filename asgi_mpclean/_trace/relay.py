"""Signals that are meant for the command, though they come to the process that runs it.

The command is in the same process group as we are, on the same terminal: CTRL-C and whatever else
is sent to the group reaches it without us. What is sent to us alone has to be passed on, once. The
kernel does not say which of the two a signal was; so a third process in the group, the witness,
tells which signals it gets: what reaches it was sent to the group.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform != "win32":
    PASSED_ON: tuple[signal.Signals, ...] = (
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
    )
    IGNORED: tuple[signal.Signals, ...] = ()
else:  # The console gives its keys to all of its processes; ours has to see the end of the others.
    PASSED_ON: tuple[signal.Signals, ...] = ()
    IGNORED: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGBREAK)

MOMENT = 0.001
"""Seconds in which the kernel has given a signal to the whole group, once it has begun."""

PATIENCE = 5.0
"""Seconds to wait for the witness, which may be stopped."""

ASKED = b"?"
ANSWERED = 0
"""What the witness writes when it is asked: all signals that it got stand before it."""


class Relay:
    """Passes signals on to a process, from the moment that it is told which."""

    def __init__(self) -> None:
        """Start the witness."""
        self.pid = 0
        self.witness = 0
        self._told: list[int] = []
        self._heard, witness_says = os.pipe()
        witness_lives, self._life = os.pipe()
        if sys.platform != "win32":
            os.set_blocking(self._heard, False)
            self.witness = _start_witness(witness_says, witness_lives, self._life)
        os.close(witness_says)
        os.close(witness_lives)

    def pass_on(self, signum: int, _frame: object) -> None:
        """Send a signal to the command, unless it was sent to the whole group; a handler."""
        if self.pid and not self._witness_got(signum):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def _witness_got(self, signum: int) -> bool:
        time.sleep(MOMENT)
        with contextlib.suppress(OSError):  # The witness was killed.
            os.write(self._life, ASKED)
            while ANSWERED not in self._told and self._hear():
                pass
        if ANSWERED in self._told:
            self._told.remove(ANSWERED)
        if signum not in self._told:
            return False
        self._told.remove(signum)
        return True

    def _hear(self) -> bool:
        if not select.select([self._heard], [], [], PATIENCE)[0]:
            return False
        told = os.read(self._heard, 64)
        self._told += told
        return bool(told)

    def close(self) -> None:
        """End the witness."""
        os.close(self._life)
        os.close(self._heard)
        if self.witness:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.witness, 0)


if sys.platform != "win32":

    def _start_witness(says: int, lives: int, other_end: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            os.close(other_end)
            os.set_blocking(says, False)
            signal.set_wakeup_fd(says, warn_on_full_buffer=False)
            for signum in PASSED_ON:
                if signal.getsignal(signum) != signal.SIG_IGN:
                    signal.signal(signum, lambda *_: None)
            while os.read(lives, 1):  # Until the other end is closed, or gone with its process.
                os.write(says, bytes([ANSWERED]))
        finally:
            os._exit(0)


@contextlib.contextmanager
def relayed() -> Iterator[Relay]:
    """Have signals passed on, but those that are ignored here: the command ignores them as well."""
    relay = Relay()
    found: dict[signal.Signals, Any] = {}
    try:
        for signum in PASSED_ON:
            if signal.getsignal(signum) != signal.SIG_IGN:
                found[signum] = signal.signal(signum, relay.pass_on)
        for signum in IGNORED:
            found[signum] = signal.signal(signum, signal.SIG_IGN)
        yield relay
    finally:
        for signum, handler in found.items():
            signal.signal(signum, handler)
        relay.close()
