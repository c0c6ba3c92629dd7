"""What may be registered, who owns it, and what happens when it is registered badly."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import json
import math
import multiprocessing
import os
import queue
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import workers

import asgi_mpclean
from asgi_mpclean import Registry
from asgi_mpclean._cpython.semaphores import Snapshot, semaphore_names_of, unlink_semaphores
from asgi_mpclean._registry.entries import AGES
from asgi_mpclean._shutdown.state import listed

if TYPE_CHECKING:
    from collections.abc import Callable

SPAWN = multiprocessing.get_context("spawn")
MANY = AGES[-1]  # registrations after which each entry has been looked at more than once

# Each kind with the named semaphores it holds in the spawn context.
KINDS: list[tuple[str, Callable[[Any], Any], int]] = [
    ("Queue", lambda ctx: ctx.Queue(), 3),
    ("JoinableQueue", lambda ctx: ctx.JoinableQueue(), 8),
    ("SimpleQueue", lambda ctx: ctx.SimpleQueue(), 2),
    ("Lock", lambda ctx: ctx.Lock(), 1),
    ("RLock", lambda ctx: ctx.RLock(), 1),
    ("Semaphore", lambda ctx: ctx.Semaphore(), 1),
    ("BoundedSemaphore", lambda ctx: ctx.BoundedSemaphore(), 1),
    ("Condition", lambda ctx: ctx.Condition(), 4),
    ("Event", lambda ctx: ctx.Event(), 5),
    ("Barrier", lambda ctx: ctx.Barrier(2), 4),
    ("Value", lambda ctx: ctx.Value("i", 0), 1),
    ("Array", lambda ctx: ctx.Array("i", 3), 1),
]


@pytest.mark.parametrize(("kind", "make", "semaphores"), KINDS, ids=[kind for kind, _, _ in KINDS])
def test_every_kind_is_closed_and_unlinked(
    kind: str, make: Callable[[Any], Any], semaphores: int, method: str
) -> None:
    registry = Registry()
    resource = make(multiprocessing.get_context(method))
    assert registry.register(resource) is resource
    assert resource in registry
    assert list(registry) == [resource]
    report = registry.clean()
    assert report.semaphores == (0 if method == "fork" else semaphores), kind
    assert report.closed == 1
    assert len(registry) == 0
    assert registry.clean().resources == []


class OwnQueue(multiprocessing.queues.Queue):  # type: ignore[type-arg]
    """What torch and others do."""

    def __init__(self, *, ctx: Any) -> None:
        super().__init__(ctx=ctx)
        self.extra = ctx.Event()


class OwnEvent(multiprocessing.synchronize.Event):
    """A lock-like subclass."""


@pytest.mark.parametrize(("kind", "semaphores"), [(OwnQueue, 8), (OwnEvent, 5)])
def test_a_subclass_is_closed_as_what_it_extends(kind: Any, semaphores: int) -> None:
    registry = Registry()
    own = registry.register(kind(ctx=SPAWN))
    assert own in registry
    assert registry.clean().semaphores == semaphores


class NotQuiteAQueue:
    """Has a queue's methods and nothing of a queue."""

    def put(self, item: object) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        (42, "cannot register 42 of type builtins.int: Queue, JoinableQueue"),
        (None, "builtins.NoneType"),
        ("queue", "builtins.str"),
        (NotQuiteAQueue(), "NotQuiteAQueue"),
        (queue.Queue(), "queue.Queue: .* a queue between threads needs no clean-up"),
        (queue.SimpleQueue(), "a queue between threads needs no clean-up"),
        (asyncio.Queue(), "a queue between tasks needs no clean-up"),
        (threading.Lock(), "_thread"),
        (multiprocessing.RawValue("i"), "c_int"),
        (multiprocessing.Queue, "builtins.method"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_registered(resource: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        Registry().register(resource)


def test_a_managers_proxy_cannot_be_registered_unless_it_is_of_a_queue() -> None:
    with SPAWN.Manager() as manager, pytest.raises(TypeError, match="ends with the manager"):
        Registry().register(manager.dict())


def test_a_managers_queue_is_emptied_before_its_manager_ends() -> None:
    registry, got = Registry(), list[int]()
    manager = registry.register(SPAWN.Manager())
    queue = registry.register(manager.Queue(), on_item=got.append)
    for number in range(100):
        queue.put(number)
    report = registry.clean()
    assert got == list(range(100))
    assert [entry.outcome for entry in report.resources] == ["closed", "closed"]


async def coroutine(_item: object) -> None:
    """Is not what on_item can be."""


@pytest.mark.parametrize(
    ("make", "options", "error", "words"),
    [
        (SPAWN.Queue, {"on_item": 1}, TypeError, "on_item must be callable, not 1"),
        (SPAWN.Queue, {"on_item": coroutine}, TypeError, "not the coroutine function"),
        (SPAWN.Queue, {"stop": print}, ValueError, "stop= is for .*process.* is a queue"),
        (SPAWN.Queue, {"name": 1}, TypeError, "name must be a string, not 1"),
        (SPAWN.Process, {"on_item": print}, ValueError, "on_item= is for .*queue.* is a process"),
        (SPAWN.Process, {"stop": "now"}, TypeError, "stop must be callable, not 'now'"),
        (SPAWN.Lock, {"on_item": print}, ValueError, "on_item= is for .*queue.* is a lock"),
        (SPAWN.Lock, {"stop": print}, ValueError, "stop= is for .*process.* is a lock"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or ", ".join(value),
)
def test_options_that_do_not_fit(
    make: Callable[[], Any], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    registry = Registry()
    resource = make()
    with pytest.raises(error, match=words):
        registry.register(resource, **options)
    assert len(registry) == 0
    registry.register(resource)
    registry.clean()


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, "5", None, True, [1]], ids=repr)
def test_bad_timeouts(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be a finite number of seconds above 0, not"):
        asgi_mpclean.clean(timeout=timeout)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"name": "mail"}, {"on_item": "new"}),
        ({"name": "post", "on_item": "old"}, {"name": "mail", "on_item": "new"}),
        ({"name": "mail", "on_item": "new"}, {}),
    ],
    ids=["more options", "other options", "no options"],
)
def test_registering_twice_is_one_registration_with_the_options_given_last(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    registry = Registry()
    got: dict[str, list[int]] = {"old": [], "new": []}
    mail = SPAWN.Queue()
    for options in (first, second):
        on_item = got[options["on_item"]].append if "on_item" in options else None
        registry.register(mail, name=options.get("name"), on_item=on_item)
    mail.put(1)
    report = registry.clean()
    assert [entry.name for entry in report.resources] == ["mail"]
    assert (got, report.semaphores) == ({"old": [], "new": [1]}, 3)


def test_registering_from_many_threads() -> None:
    """So many, and so many of them let go of at once, that the registry looks for spent ones."""
    registry = Registry()
    locks = [SPAWN.Lock() for _ in range(2 * MANY)]
    threads, turns = 8, threading.Barrier(8)

    def register_all() -> None:
        turns.wait(20)
        for lock in locks:
            registry.register(lock)
            registry.register(SPAWN.Lock())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # The threads meet in the middle of what one of them does.
    try:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(register_all) for _ in range(threads)]:
                done.result()
    finally:
        sys.setswitchinterval(interval)
    assert len(registry) < (1 + threads) * len(locks)  # Some have been let go of,
    assert all(lock in registry for lock in locks)  # but none that is in use.
    registry.clean()
    assert not {name for lock in locks for name in semaphore_names_of(lock)} & Snapshot().names


def test_a_with_block_cleans_at_its_end() -> None:
    with Registry() as registry:
        lock = registry.register(SPAWN.Lock())
    assert lock not in registry
    assert not set(semaphore_names_of(lock)) & Snapshot().names


def test_registering_during_a_clean_up_is_refused_and_the_resource_closed() -> None:
    registry = Registry()
    late: list[Any] = []
    errors: list[Exception] = []

    def on_item(_item: object) -> None:
        for make in (SPAWN.Queue, SPAWN.Lock):
            late.append(make())
            try:
                registry.register(late[-1])
            except RuntimeError as error:
                errors.append(error)

    mail = registry.register(SPAWN.Queue(), on_item=on_item)
    mail.put(1)
    registry.clean()
    assert len(errors) == 2
    assert all("while a clean-up is under way; it was closed" in str(error) for error in errors)
    with pytest.raises(ValueError, match="closed"):
        late[0].put(1)
    names = {name for resource in late for name in semaphore_names_of(resource)}
    assert len(names) == 4
    assert not names & Snapshot().names
    lock = registry.register(SPAWN.Lock())  # Afterwards it is open again.
    assert lock in registry
    assert registry.clean().semaphores == 1


def test_clean_called_by_a_callback_does_not_wait_for_itself() -> None:
    registry = Registry()
    reports = []
    mail = registry.register(SPAWN.Queue(), on_item=lambda _: reports.append(registry.clean()))
    mail.put(1)
    report = registry.clean()
    assert report.delivered == 1
    assert reports[0].resources == []
    assert report.seconds < 1


def test_clean_called_by_many_threads_cleans_once() -> None:
    registry = Registry()
    got: list[int] = []
    mail = registry.register(SPAWN.Queue(), on_item=got.append)
    for number in range(100):
        mail.put(number)
    reports: list[asgi_mpclean.CleanupReport] = []
    threads = [threading.Thread(target=lambda: reports.append(registry.clean())) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry.clean()  # Here, as only the main thread can take the guard over SIGTERM away.
    assert got == list(range(100))
    assert sum(report.delivered for report in reports) == 100
    assert sum(report.semaphores for report in reports) == 3


def test_a_forked_child_owns_nothing() -> None:
    mail = asgi_mpclean.register(SPAWN.Queue(), on_item=print)
    inherited = multiprocessing.get_context("fork").Queue()
    asgi_mpclean.register(inherited, on_item=print)
    mail.put(1)
    parent, child = multiprocessing.Pipe()
    pid = os.fork()
    if pid == 0:
        try:
            workers.clean_everything(child)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert parent.recv() == (0, 0, 0, 0)
    report = asgi_mpclean.clean()
    assert (report.delivered, report.semaphores) == (1, 3)


def test_a_child_that_registers_what_it_inherited_only_closes_its_copy(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    parent, child = multiprocessing.Pipe()
    mail = asgi_mpclean.register(context.Queue(), on_item=lambda _: None)
    lock = asgi_mpclean.register(context.Lock())
    mail.put(1)
    process = context.Process(target=register_and_clean, args=(mail, lock, child))
    process.start()
    assert parent.poll(30)
    assert parent.recv() == (["copy closed", "copy closed"], 0, 0)
    process.join(30)
    report = asgi_mpclean.clean()
    assert (report.delivered, report.semaphores) == (1, 0 if method == "fork" else 4)


def register_and_clean(mail: Any, lock: Any, answer: Any) -> None:
    """Run in a child."""
    registry = Registry()
    registry.register(mail, on_item=print)
    registry.register(lock)
    report = registry.clean()
    outcomes = [entry.outcome for entry in report.resources]
    answer.send((outcomes, report.semaphores, report.delivered))


def test_what_another_process_made_is_not_unlinked_when_it_comes_too_late(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    lock, (answers, answer) = SPAWN.Lock(), context.Pipe()
    worker = context.Process(target=workers.register_too_late, args=(lock, answer))
    worker.start()
    assert answers.poll(20)
    assert "it was closed" in answers.recv()
    worker.join(20)
    names = semaphore_names_of(lock)
    assert unlink_semaphores(Snapshot().claim(names)) == 1


def test_default_names_are_what_a_person_recognises() -> None:
    registry = Registry()
    jobs = registry.register(SPAWN.Queue())
    events = SPAWN.Event()
    registry.register(events)
    lock = SPAWN.Lock()
    registry.register(
        lock,
        name="the lock",
    )
    worker = registry.register(SPAWN.Process(target=print, name="worker 1"))
    assert jobs in registry
    assert worker in registry
    names = [entry.name.split(":")[0] for entry in registry.clean().resources]
    here = os.path.basename(__file__)
    assert names == [f"jobs ({here}", f"events ({here}", "the lock", "worker 1"]


def test_a_script_that_registers_for_ever_does_not_grow_for_ever() -> None:
    registry = Registry()
    for _ in range(4 * MANY):
        registry.register(SPAWN.Lock())
        registry.register(SPAWN.SimpleQueue())
    gc.collect()
    assert len(registry) <= 2
    held = [registry.register(SPAWN.Lock()) for _ in range(3 * MANY)]
    assert all(lock in registry for lock in held)
    registry.clean()


def test_letting_go_keeps_a_queue_with_something_in_it() -> None:
    registry = Registry()
    got: list[int] = []
    registry.register(SPAWN.Queue(), on_item=got.append).put(1)
    for _ in range(2 * MANY):
        registry.register(SPAWN.SimpleQueue())
        registry.register(SPAWN.Process(target=print))
    registry.clean()
    assert got == [1]


def test_the_report_as_text_and_as_json() -> None:
    registry = Registry()
    mail = registry.register(SPAWN.Queue(), name="mail", on_item=lambda _: None)
    mail.put(1)
    report = registry.clean(timeout=3)
    assert "1 closed, 3 semaphores unlinked, 1 items delivered" in report.summary()
    assert str(report).splitlines()[1] == "  Queue mail: closed, items: 1 delivered"
    data = json.loads(report.to_json())
    assert (data["delivered"], data["timeout"], data["trigger"]) == (1, 3, "clean()")
    assert data["resources"][0]["name"] == "mail"
    assert json.loads(asgi_mpclean.CleanupReport("exit", 5.0).to_json())["resources"] == []
    assert "nothing to do" in str(asgi_mpclean.CleanupReport("exit", 5.0))


def test_one_info_line_and_no_warning_when_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "asgi_mpclean")
    registry = Registry()
    registry.register(SPAWN.Queue())
    registry.clean()
    registry.clean()
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_partial_and_bound_methods_are_fine_as_callbacks() -> None:
    registry = Registry()
    got: list[tuple[str, int]] = []
    mail = registry.register(
        SPAWN.Queue(), on_item=functools.partial(lambda a, b: got.append((a, b)), "a")
    )
    mail.put(1)
    registry.clean()
    assert got == [("a", 1)]


def test_a_registry_that_is_made_meanwhile_does_not_disturb_a_clean_up() -> None:
    """Before 3.14 a weak set cannot be gone through while another thread adds something."""

    class Growing(weakref.WeakSet[Any]):
        def __iter__(self) -> Any:
            for thing in super().__iter__():
                yield thing
                if len(self) < 3:
                    made.append(Registry())
                    self.add(made[-1])

    made = [Registry()]
    assert listed(Growing(made))
    assert len(made) >= 2
