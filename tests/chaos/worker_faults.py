"""Workers that come to harm, or are of no good; each function takes the app and does one thing."""

from __future__ import annotations

import multiprocessing.resource_tracker
import os
import signal
import threading
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers
from world import until

import asgi_mpclean
from asgi_mpclean._items.pipe import bytes_in_pipe

if TYPE_CHECKING:
    from world import World


def is_held(lock: Any) -> bool:
    """Tell whether somebody holds the lock."""
    if not lock.acquire(block=False):
        return True
    lock.release()
    return False


def stop(worker: Any) -> None:
    """Stop a worker, and wait until it stands still: until then it may read on."""
    os.kill(worker.pid, signal.SIGSTOP)
    stat = Path(f"/proc/{worker.pid}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")


def killed_in_get(world: World) -> None:
    """The readers' lock stays with the dead."""
    queue = world.queue("get")
    worker = world.worker(peers.be_in_get, queue)
    until(lambda: is_held(queue._rlock))
    world.kill(worker)
    worker.join()  # Or it takes the first of the items.
    world.put(queue, "get", world.rng.randrange(1, 500), size=world.rng.choice((1, 1000)))


def killed_in_the_middle_of_get(world: World) -> None:
    """What is left of an item that was half read is no item, and hides where the next begins."""
    queue = world.queue("half read")
    count = world.rng.randrange(1, 300)
    world.put(queue, "half read", count, size=world.rng.choice((100, 1000, 100_000)))
    world.kill(world.worker(peers.be_in_the_middle_of_get, queue, world.rng.randrange(1, 80)))
    world.lossy["half read"] += count


def killed_in_mid_frame(world: World) -> None:
    """The writers' lock and a torn frame stay; the frame has reached the pipe, so it counts."""
    queue = world.queue("put")
    whole, size = world.rng.randrange(50), world.rng.choice((1, 3, 4, 5, 500))
    worker = world.worker(peers.be_in_mid_frame, queue, "put", whole, size)
    world.kill(worker)
    world.entered["put"] += whole + 1
    world.lossy["put"] += 1
    world.put(queue, "put", world.rng.randrange(300), size=500)


def killed_while_writing(world: World) -> None:
    """What has reached the pipe counts, the torn frame as well: all frames are of one length."""
    queue = world.queue("random", kind="Queue")
    worker = world.worker(peers.write_for_ever, queue, "random")
    fd = queue._reader.fileno()
    until(lambda: bytes_in_pipe(fd))
    world.kill(worker)
    worker.join()
    length = len(bytes(ForkingPickler.dumps(("random", 1000, b"x" * 100)))) + 4
    whole, rest = divmod(bytes_in_pipe(fd), length)
    world.entered["random"] += whole + bool(rest)
    world.lossy["random"] += bool(rest)


def slow_put(world: World) -> None:
    """An item comes in bit by bit, and will not have come when the time is over."""
    queue = world.queue("slow")
    world.worker(peers.write_slowly, queue, 1 << 30)
    world.entered["slow"] += 1
    world.lossy["slow"] += 1


def killed_with_write_lock(world: World) -> None:
    """The own feeder waits for a lock that nobody will give back."""
    queue = world.queue("write lock")
    worker = world.worker(peers.hold, queue._wlock)
    world.put(queue, "write lock", world.rng.randrange(1, 300), size=500)
    world.kill(worker)


def killed_in_condition(world: World) -> None:
    """A `put` waits for ever then, and holds the feeder's lock; its item is not in yet."""
    queue = world.queue("condition", kind="JoinableQueue")
    world.put(queue, "condition", world.rng.randrange(1, 300))
    worker = world.worker(peers.hold, queue._cond)
    world.kill(worker)
    threading.Thread(target=queue.put, args=(None,), daemon=True).start()
    world.moment()


def killed_in_wait(world: World) -> None:
    """Who sets the event after that waits for ever for the dead to wake up."""
    event = asgi_mpclean.register(world.ctx.Event())
    worker = world.worker(peers.be_in_wait, event)
    until(lambda: event._cond._sleeping_count.get_value() > 0)
    world.worker(peers.be_in_wait, event, stop=event.set)
    world.kill(worker)


def stopped(world: World) -> None:
    """It holds what it holds, and hears of no SIGTERM."""
    queue = world.queue("stopped")
    worker = world.worker(peers.be_in_get, queue)
    until(lambda: is_held(queue._rlock))
    stop(worker)
    world.put(queue, "stopped", world.rng.randrange(1, 500))


def stopped_in_mid_frame(world: World) -> None:
    """It may go on writing at any time, until it is killed."""
    queue = world.queue("half")
    whole = world.rng.randrange(50)
    worker = world.worker(peers.be_in_mid_frame, queue, "half", whole, world.rng.randrange(1, 900))
    stop(worker)
    world.entered["half"] += whole + 1
    world.lossy["half"] += 1
    world.put(queue, "half", world.rng.randrange(300), size=500)


def stubborn(world: World) -> None:
    """It ignores SIGTERM."""
    world.worker(peers.ignore_sigterm)


def forking(world: World) -> None:
    """Somebody whom we do not know holds all pipes open, for a moment longer than the worker."""
    queue = world.queue("fork")
    count = world.rng.randrange(100)
    world.entered["fork"] += count
    world.worker(peers.fork, queue, "fork", count)


def ending(world: World) -> None:
    """They exit between two looks."""
    for _ in range(world.rng.randrange(1, 5)):
        world.worker(peers.end_soon, world.rng.random() * 0.1)


def owning_semaphores(world: World) -> None:
    """It leaves semaphores, terminated or killed; the tracker that knows them is the app's."""
    multiprocessing.resource_tracker.ensure_running()
    world.worker(peers.own_semaphores, world.rng.randrange(1, 5), world.rng.random() < 0.5)


def killed_after_writing(world: World) -> None:
    """What a dead worker had written is there."""
    queue = world.queue("written")
    count = world.rng.randrange(1, 300)
    worker = world.worker(peers.write_and_wait, queue, "written", count)
    world.entered["written"] += count
    world.kill(worker)


def tracker_killed(_world: World) -> None:
    """Nobody is there to be told what is unlinked."""
    multiprocessing.resource_tracker.ensure_running()
    tracker: Any = multiprocessing.resource_tracker
    os.kill(tracker._resource_tracker._pid, signal.SIGKILL)
