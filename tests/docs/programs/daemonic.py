"""A daemon that starts a process."""

import multiprocessing

spawn = multiprocessing.get_context("spawn")


def start_another() -> None:
    """Start one more."""
    spawn.Process(target=print).start()


if __name__ == "__main__":
    process = spawn.Process(target=start_another, daemon=True)
    process.start()
    process.join()
