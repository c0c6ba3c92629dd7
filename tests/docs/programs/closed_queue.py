"""A queue that is used after it was closed."""

import multiprocessing

queue = multiprocessing.get_context("spawn").Queue()
queue.close()
queue.put("an item")
