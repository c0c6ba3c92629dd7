"""A thread that runs the exit functions and then ends the process, whatever the others are doing.

NiceGUI's native mode does so when its window is gone.
"""

from __future__ import annotations

import textwrap

import pytest
from script import DELIVERED, Script

BY_THREAD = """
def end_process():
    began.wait()
    atexit._run_exitfuncs()
    os._exit(0)
began = threading.Event()
threading.Thread(target=end_process, daemon=True).start()
def slowly(item):
    began.set()
    time.sleep(0.3)
    say("item", item)
"""


def test_the_clean_up_of_the_main_thread_is_not_cut_off() -> None:
    status, lines = Script(BY_THREAD + "queue = mail(slowly)").end()
    assert (status, lines) == (0, DELIVERED)


def test_an_app_that_is_ended_so_is_not_ended_by_its_server_as_well() -> None:
    body = """
    import asyncio
    def on_item(item):
        said.set()
        slowly(item)
    said, queue = threading.Event(), mail(on_item)
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        say("a second end")
    async def server():
        inbox = asyncio.Queue()
        inbox.put_nowait({"type": "lifespan.startup"})
        async def send(message):
            began.set()
            await asyncio.to_thread(said.wait)
            inbox.put_nowait({"type": "lifespan.shutdown"})
        await asgi_mpclean.MPCleanLifespan(app)({"type": "lifespan"}, inbox.get, send)
    asyncio.run(server())
    """
    status, lines = Script(BY_THREAD + textwrap.dedent(body)).end()
    assert (status, lines) == (0, DELIVERED)


@pytest.mark.parametrize(
    ("daemon", "expected"), [(True, ["['terminated']"]), (False, ["done", "['joined']"])]
)
def test_a_daemon_nobody_registered_is_not_awaited_while_it_computes(
    expected: list[str], *, daemon: bool
) -> None:
    body = f"""
    def on_report(report):
        say([entry.outcome for entry in report.resources if "Process" in entry.kind])
    asgi_mpclean.MPCleanLifespan(print, timeout=20, on_report=on_report)
    results = asgi_mpclean.register(ctx.Queue(), on_item=say)
    ctx.Process(target=workers.compute, args=(results, 1), daemon={daemon}).start()
    results.get()
    """
    status, lines = Script(textwrap.dedent(body)).end()
    assert (status, lines) == (0, expected)
