"""The tests that cannot show anything on some platform, each with the reason why.

`.ci/macos`, `.ci/musl`, `.ci/freethreaded` and `.ci/pypy` run the others there. What a test needs
of Linux itself, as most in `tests/harm` do, it says where it is.
"""

from __future__ import annotations

import os
import sys

from asgi_mpclean._cpython import gil

MACOS = "macos"
PYPY = "pypy"
FREE = "freethreaded"
NO_PIDFD = "no pidfd"

PROC = "it counts by /proc and /dev/shm"
QSIZE = "without qsize only that something is lost is known, not how much"
ANOTHER = "it reads a pipe by another descriptor, as only Linux can"
INSIDE = "it asks a semaphore for its value, which macOS does not tell"
CANNOT_WORK = "tests/test_exec.py::test_one_that_cannot_work_cleans_nothing_and_raises_as_os_does"
BAD_INPUT = "tests/test_trace_bad_input.py::test"
IN_A_FORK = "tests/test_signals_forked.py::test_ctrl_c_in_the_middle_of_a_fork"
LIVES = "tests/harm/test_long_lives.py::test"
STOPS = "tests/harm/test_early_stops.py::test_a_stop"
GRANIAN = "granian's worker is a thread there; it misses some stops, without the library as well"
INTERPRETERS = "this interpreter is made of another program, which lacks what a second one needs"
REFERENCES = "nothing counts references, so that a dropped queue is held until it is closed"
NO_GRANIAN = "granian is not built for it"
INJECTED = "nothing is put into the processes of a Python other than CPython"
EQUAL = "it takes a handler that equals SIG_DFL for that, so that a guard of ours does not equal it"
IGNORED = "it takes a signal that was ignored when it was started for one that is not"
SIGINT = "it catches a SIGINT itself that was ignored when it was started"
VIEW = "it closes memory of which there is a view, and does not say so"
COLLECTOR = "its garbage collector has nothing to look into"

# What a test's name begins with, as pytest says it, and the reason.
SKIPPED: dict[str, dict[str, str]] = {
    MACOS: {
        "tests/harm/": PROC,
        "tests/test_corners.py::test_items_behind_one_that_a_dead_reader_had_begun_are_c": QSIZE,
        "tests/test_queue_peers.py::test_what_a_live_reader_holds_the_lock_of": QSIZE,
        "tests/test_queue_peers.py::test_who_waits_in_join_is_woken": INSIDE,
        "tests/test_logging.py::test_who_waits_for_an_item_is_known_as_a_reader": INSIDE,
        "tests/test_read_ahead.py::test_another_process_that_holds_a_pipe_is_seen": PROC,
        "tests/test_read_ahead.py::test_who_cannot_be_looked_at_may_hold_it": PROC,
        "tests/test_kinds.py::test_a_later_block_of_the_same_name_is_not_unlinked": PROC,
        "tests/test_restart.py::test_a_daemon_that_has_left_its_parent_can": (
            "it is adopted by another process than the first, as only Linux can have it"
        ),
        "tests/test_cpython.py::test_what_makes_no_sense_is_thrown_away": ANOTHER,
        "tests/test_corners.py::test_a_descriptor_that_cannot_be_read_has_ended": ANOTHER,
        "tests/test_leaks.py::test_it_loads_no_multiprocessing": (
            "what makes a Linux look like it has loaded multiprocessing itself"
        ),
        "tests/test_cpython.py::test_a_semaphore_": PROC,
        f"{IN_A_FORK}_is_raised_in_the_childs_own_code[like PyPy]": (
            "a timer sends the signal, as only Linux can"
        ),
    },
    FREE: {
        f"{STOPS}_is_heard_at_each_moment[wrapper-granian": GRANIAN,
        f"{STOPS}_is_heard_at_each_moment[lifespan-granian": GRANIAN,
        "tests/harm/test_corners_of_harm.py::test_a_sub_interpreter": INTERPRETERS,
        "tests/harm/test_corners_of_harm.py::test_a_thread_takes_what_prepares_a_worker[Interp": (
            INTERPRETERS
        ),
    },
    NO_PIDFD: {
        "tests/test_handles.py::test_a_process_that_is_gone_has_no_handle": "there is no pidfd",
        "tests/test_corners.py::test_a_worker_that_cannot_be_killed": "there is no pidfd",
        "tests/harm/test_strangers.py::test_a_helper_that_cleans_up": "there is no pidfd",
        "tests/harm/test_strangers.py::test_what_descendants_start_while": "there is no pidfd",
    },
    PYPY: {
        f"{STOPS}_is_heard_at_each_moment[wrapper-granian": NO_GRANIAN,
        f"{STOPS}_is_heard_at_each_moment[lifespan-granian": NO_GRANIAN,
        "tests/test_inject.py::test_nothing_is_loaded_until_multiprocessing": INJECTED,
        "tests/test_inject.py::test_every_process_is_reached": INJECTED,
        "tests/test_inject.py::test_the_resource_tracker_is_reached": INJECTED,
        "tests/test_inject.py::test_a_hook_": INJECTED,
        "tests/test_inject.py::test_a_module_that_is_imported_already": INJECTED,
        "tests/test_trace.py::test_each_kind_is_named_with_its_line": INJECTED,
        "tests/test_trace.py::test_it_is_said_how_the_process_ended": INJECTED,
        "tests/test_trace.py::test_what_": INJECTED,
        "tests/test_trace.py::test_leaks_of_each_kind_of_child_are_named": INJECTED,
        "tests/test_trace.py::test_a_package_is_named_by_its_place": INJECTED,
        "tests/test_trace.py::test_an_executor_and_a_pool_are_named": INJECTED,
        "tests/test_trace.py::test_a_feeder_that_keeps_the_exit_waiting": INJECTED,
        "tests/test_trace.py::test_items_that_workers_read_during_the_exit": INJECTED,
        f"{BAD_INPUT}_one_that_exits_at_once": INJECTED,
        f"{BAD_INPUT}_a_child_that_is_not_reached": INJECTED,
        f"{BAD_INPUT}_a_tracker_that_is_not_reached": INJECTED,
        f"{BAD_INPUT}_a_sitecustomize_of_the_program": INJECTED,
        f"{BAD_INPUT}_a_folder_that_fills_up": INJECTED,
        f"{BAD_INPUT}_a_process_that_is_killed_in_the_middle": INJECTED,
        f"{BAD_INPUT}_many_processes": INJECTED,
        f"{BAD_INPUT}_a_program_that_closes_all_descriptors": INJECTED,
        "tests/test_trace_names.py::test_where_names_are_made_otherwise": INJECTED,
        "tests/test_trace_transparent.py::test_a_page_is_written": INJECTED,
        "tests/test_trace_transparent.py::test_what_is_ignored_stays_ignored": IGNORED,
        "tests/test_check_units.py::test_without_shared_memory_to_look_at": INJECTED,
        "tests/test_leaks.py::test_under_the_command_it_uses_what_that_has_noted": INJECTED,
        "tests/harm/test_run.py::test_a_program_ends_clean_and_as_without": INJECTED,
        "tests/harm/test_run.py::test_a_worker_by_fork_of_a_server": INJECTED,
        "tests/harm/test_run.py::test_bad_input_is_told_as_a_shell_would": INJECTED,
        "tests/harm/test_handlers_found.py::test_a_guard_is_equal_to_the_default": EQUAL,
        "tests/harm/test_handlers_found.py::test_the_handlers_found_are_put_back[cleaned_in": EQUAL,
        "tests/test_exec.py::test_signals_are_inherited_as_they_were_found[True": SIGINT,
        f"{CANNOT_WORK}[execv(PY, 'x": ("its os.execv takes a string for arguments"),
        "tests/test_entries.py::test_items_of_dropped_queues_are_told": REFERENCES,
        "tests/test_entries.py::test_a_sentinel_that_nobody_took": REFERENCES,
        "tests/test_entries.py::test_an_executor_is_held_while_it_has_jobs": REFERENCES,
        "tests/test_kinds.py::test_shared_memory_of_which_the_app_has_a_view": VIEW,
        "tests/harm/test_small_truths.py::test_what_went_wrong_is_said_as_what_it_is[a view": VIEW,
        f"{LIVES}_what_the_app_has_ended_costs_nothing_any_more[queue-by dropping": REFERENCES,
        f"{LIVES}_what_the_app_has_ended_costs_nothing_any_more[joinable-by dropping": REFERENCES,
        f"{LIVES}_what_the_app_has_ended_costs_nothing_any_more[simple-by dropping": REFERENCES,
        f"{LIVES}_any_number_of_threads_may_register[registry.register(context.S": REFERENCES,
        "tests/test_platforms.py::test_check_counts_by_the_trace": INJECTED,
        "tests/docs/test_messages.py::test_a_message_is_printed_as_the_page_shows_it[exit-c": (
            "it says in other words what an exit function raises"
        ),
        "tests/harm/test_relatives.py::test_a_relative_ends_as_well[SIGTERM-used-joblib": (
            "cloudpickle, which joblib needs, cannot be imported there"
        ),
        "tests/test_waking.py::test_a_thread_in_get_ends_by_system_exit": (
            "nothing can be raised in another thread"
        ),
        "tests/test_cpython.py::test_a_look_at_what_threads_do_leaves_no_frame": COLLECTOR,
        "tests/test_registry.py::test_a_script_that_registers_for_ever": REFERENCES,
        "tests/test_rare_names.py::test_where_mappings_cannot_be_read": COLLECTOR,
        "tests/test_registry.py::test_what_cannot_be_registered[_PySimpleQueue": (
            "its queue between threads is written in Python, by another name"
        ),
    },
}


def platforms() -> list[str]:
    """Return what is special here."""
    found = {
        MACOS: sys.platform == "darwin",
        FREE: not gil.is_enabled(),
        NO_PIDFD: not hasattr(os, "pidfd_open"),
        PYPY: sys.implementation.name == "pypy",
    }
    return [name for name, here in found.items() if here]


def reason_to_skip(test: str, here: list[str]) -> str | None:
    """Return why a test is skipped here, None if it is not.

    Args:
        test: Its name, as pytest says it.
        here: What is special here.
    """
    for name in here:
        for beginning, reason in SKIPPED[name].items():
            if test.startswith(beginning):
                return f"{name}: {reason}"
    return None
