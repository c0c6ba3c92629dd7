"""A pipe whose reader has ended."""

import multiprocessing
from typing import Any

spawn = multiprocessing.get_context("spawn")


def work(reader: Any) -> None:
    """Read one item, and end."""
    reader.recv()


if __name__ == "__main__":
    reader, writer = spawn.Pipe(duplex=False)
    process = spawn.Process(target=work, args=(reader,))
    process.start()
    reader.close()
    writer.send("an item")
    process.join()
    writer.send("another")
