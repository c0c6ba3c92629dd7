"""Small truths: numbers that are told, logged lines, classes of any make, memory in use."""

from __future__ import annotations

import textwrap

import kit
import pytest

long = pytest.mark.skipif(not kit.LONG, reason="--long")

# Shared memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("registered", [True, pytest.param(False, marks=long)])
def test_a_manager_of_shared_memory_unlinks_it_itself(registered: bool) -> None:
    outcome = kit.run(
        """
        import multiprocessing, multiprocessing.managers, sys
        import asgi_mpclean
        if __name__ == "__main__":
            spawn = multiprocessing.get_context("spawn")
            manager = multiprocessing.managers.SharedMemoryManager(ctx=spawn)
            manager.start()
            block = manager.SharedMemory(4096)
            if sys.argv[1] == "True":
                asgi_mpclean.register(block), asgi_mpclean.register(manager)
            report = asgi_mpclean.clean(discover=True)
            print(sorted((entry.kind, entry.outcome) for entry in report.resources))
            print("at once:", report.seconds < 0.6)
        """,
        str(registered),
    )
    assert outcome.output.splitlines() == [
        "[('SharedMemory', 'already unlinked'), ('SharedMemoryManager', 'closed')]",
        "at once: True",
    ]
    assert not outcome.leaked


def test_what_an_item_is_about_is_there_when_it_is_delivered() -> None:
    outcome = kit.run(
        """
        import multiprocessing
        from multiprocessing.shared_memory import SharedMemory
        import asgi_mpclean
        frame = asgi_mpclean.register(SharedMemory(create=True, size=10))
        frame.buf[0] = 42
        def show(name):
            seen = SharedMemory(name)
            print(seen.buf[0], frame.buf[0])
            seen.close()
        queue = asgi_mpclean.register(multiprocessing.get_context("spawn").Queue(), on_item=show)
        queue.put(frame.name)
        """
    )
    assert outcome.output.splitlines()[:1] == ["42 42"]
    assert not outcome.left


# Numbers that are told ----------------------------------------------------------------------------

NUMBERS = """
    import logging, multiprocessing, multiprocessing.shared_memory as shared_memory, sys
    import asgi_mpclean
    logging.basicConfig(level="INFO", format="%(levelname)s %(message)s", stream=sys.stdout)
    class Bad:
        def __reduce__(self):
            return (int, ("no number",))
    class Thing:
        pass
    def fail(thing, seconds):
        raise ValueError("it does not close")
    asgi_mpclean.add_kind(Thing, fail)
    spawn = multiprocessing.get_context("spawn")
    {body}
    report = asgi_mpclean.clean()
    entry = report.resources[0]
    print("NUMBERS", entry.outcome, entry.delivered, entry.dropped, entry.failed, entry.error)
    """
VIEW = """
    memory = asgi_mpclean.register(shared_memory.SharedMemory(create=True, size=1000))
    view = memory.buf[:10]
    """
BAD_ITEM = """
    queue = asgi_mpclean.register(spawn.SimpleQueue(), on_item=print)
    queue.put(Bad())
    """
FAILING_ITEM = """
    queue = asgi_mpclean.register(spawn.SimpleQueue(), on_item=lambda item: item.nothing)
    queue.put(1)
    """
NOT_CLOSING = """
    thing = asgi_mpclean.register(Thing())
    """


@pytest.mark.parametrize(
    ("body", "numbers", "warns"),
    [
        pytest.param(VIEW, "unlinked 0 0 0 None", "in use", id="a view"),
        pytest.param(BAD_ITEM, "closed 0 1 0 ValueError", "1 items dropped", id="an item"),
        pytest.param(
            FAILING_ITEM, "closed 1 0 1 AttributeError", "on_item failed for 1", id="fail"
        ),
        pytest.param(NOT_CLOSING, "failed 0 0 0 ValueError", "it does not close", id="a kind"),
    ],
)
def test_what_went_wrong_is_said_as_what_it_is(body: str, numbers: str, warns: str) -> None:
    outcome = kit.run(NUMBERS.replace("{body}", textwrap.indent(textwrap.dedent(body), "    ")))
    lines = outcome.output.splitlines()
    told = next(line for line in lines if line.startswith("NUMBERS"))
    assert told.startswith(f"NUMBERS {numbers}")
    assert any(warns in line for line in lines), lines
    assert not [line for line in lines if "failed for 0" in line]


@pytest.mark.parametrize(
    "configured", [False, True], ids=["logging as it is", "logging to a queue"]
)
def test_each_line_of_the_log_says_once_who_speaks(configured: bool) -> None:
    outcome = kit.run(
        """
        import logging, logging.handlers, multiprocessing, queue, sys
        import asgi_mpclean
        records = queue.Queue()
        if sys.argv[1] == "True":
            logging.getLogger().addHandler(logging.handlers.QueueHandler(records))
        asgi_mpclean.register(multiprocessing.get_context("spawn").SimpleQueue()).put(1)
        class Thing:
            pass
        asgi_mpclean.add_kind(Thing, lambda thing, seconds: 1 / 0)
        asgi_mpclean.register(Thing())
        asgi_mpclean.clean()
        while not records.empty():  # As what listens to the other end of such a queue does.
            record = records.get()
            logging.getLogger().handlers[:] = [logging.StreamHandler()]
            logging.getLogger(record.name).handle(record)
        """,
        str(configured),
    )
    said = [line for line in outcome.output.splitlines() if "dropped" in line or "closing" in line]
    assert len(said) == 2, outcome.output
    for line in said:
        assert line.startswith("asgi_mpclean: ")
        assert line.count("asgi_mpclean: ") == 1


# Classes of any make ------------------------------------------------------------------------------

CLASSES = {
    "slots": "__slots__ = ()",
    "unhashable": "__hash__ = None",
    "equal to nothing": "def __eq__(self, other): raise ValueError",
    "false": "def __bool__(self): return False",
    "empty": "def __len__(self): return 0",
    "without a repr": "def __repr__(self): raise ValueError",
    "that answers everything": "def __getattr__(self, name): return print",
    "slots and equal": "__slots__ = ()\n    def __eq__(self, other): raise ValueError",
}
ANY_CLASS = """
    import multiprocessing
    import asgi_mpclean
    class Thing:
        {body}
    closed, got = [], []
    asgi_mpclean.add_kind(Thing, lambda thing, seconds: closed.append(1) or ["left"])
    spawn = multiprocessing.get_context("spawn")
    before = asgi_mpclean.register(spawn.Queue(), on_item=got.append)
    things = [asgi_mpclean.register(Thing(), on_item=got.append) for _ in range(3)]
    after = asgi_mpclean.register(spawn.Queue(), on_item=got.append)
    before.put(1), after.put(2)
    report = asgi_mpclean.clean()
    print(len(closed), sorted(map(str, got)), {{entry.outcome for entry in report.resources}})
    for queue in (before, after):
        try:
            queue.put(3)
        except ValueError:
            print("closed")
    """


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in {"slots", "unhashable", "without a repr"} else long)
        for name in CLASSES
    ],
)
def test_a_class_of_any_make_is_closed_and_so_is_the_rest(name: str) -> None:
    outcome = kit.run(ANY_CLASS.format(body=CLASSES[name]))
    assert outcome.output.splitlines() == [
        "3 ['1', '2', 'left', 'left', 'left'] {'closed'}",
        "closed",
        "closed",
    ]


def test_a_process_of_any_make_keeps_no_other_from_being_ended() -> None:
    outcome = kit.run(
        """
        import multiprocessing, time
        import asgi_mpclean
        fork = multiprocessing.get_context("fork")
        class Strange(fork.Process):
            broken = True
            @property
            def exitcode(self):
                if self.broken:
                    raise OSError("it does not say")
                return super().exitcode
        strange = asgi_mpclean.register(Strange(target=time.sleep, args=(60,)), name="strange")
        worker = asgi_mpclean.register(fork.Process(target=time.sleep, args=(60,)), name="worker")
        queue = asgi_mpclean.register(multiprocessing.Queue(), on_item=print)
        strange.start(), worker.start(), queue.put("item")
        time.sleep(0.1)
        outcomes = {entry.name: entry.outcome for entry in asgi_mpclean.clean().resources}
        print(outcomes["strange"], outcomes["worker"], worker.is_alive())
        strange.broken = False
        strange.kill()
        """
    )
    lines = outcome.output.splitlines()
    assert "item" in lines
    assert lines[-1] == "failed terminated False"
    assert outcome.tracebacks == 1
