"""An executor that has been shut down."""

from concurrent.futures import ProcessPoolExecutor

executor = ProcessPoolExecutor(1)
executor.shutdown()
executor.submit(print)
