/* Makes a Python interpreter of a program that has the whole of CPython linked in, but not `Py_RunMain`.
   Like any other, it finds its library beside itself, or by the pyvenv.cfg of an environment. */
#define _GNU_SOURCE
#define Py_GIL_DISABLED 1
#include <Python.h>
#include <dlfcn.h>
#include <signal.h>

static const char *RUN =
"import sys\n"
"def run(kind, what):\n"
"    import os\n"
"    main = sys.modules['__main__'].__dict__\n"
"    if kind in 'mc' and not sys.flags.safe_path:\n"
"        sys.path.insert(0, os.getcwd() if kind == 'm' else '')\n"
"    if kind == 'm':\n"
"        import runpy\n"
"        runpy._run_module_as_main(what, True)\n"
"    elif kind == 'c':\n"
"        exec(compile(what, '<string>', 'exec'), main)\n"
"    elif os.path.isdir(what) or what.endswith(('.pyz', '.zip')):\n"
"        import runpy\n"
"        sys.path.insert(0, what)\n"
"        runpy._run_module_as_main('__main__', False)\n"
"    else:\n"
"        import io\n"
"        from importlib.machinery import SourceFileLoader\n"
"        path = os.path.abspath(what)\n"
"        if not sys.flags.safe_path:\n"
"            sys.path.insert(0, os.path.dirname(os.path.realpath(path)))\n"
"        with io.open_code(path) as file:\n"
"            code = compile(file.read(), what, 'exec')\n"
"        main['__file__'], main['__loader__'] = what, SourceFileLoader('__main__', path)\n"
"        exec(code, main)\n";

/* What the command line says is to be run: a module, a file or a line of code. */
static PyObject *wanted(const char **kind) {
    static const char *const NAMES[][2] = {{"run_command", "c"}, {"run_module", "m"}, {"run_filename", "f"}};
    for (int i = 0; i < 3; i++) {
        PyObject *value = PyConfig_Get(NAMES[i][0]);
        if (value && value != Py_None) { *kind = NAMES[i][1]; return value; }
        PyErr_Clear();
    }
    return NULL;
}

static int run(void) {
    const char *kind;
    PyObject *what = wanted(&kind), *names = PyDict_New(), *done = NULL;
    if (!what) return 2;
    PyDict_SetItemString(names, "__builtins__", PyImport_ImportModule("builtins"));
    if (PyRun_String(RUN, Py_file_input, names, names))
        done = PyObject_CallFunction(PyDict_GetItemString(names, "run"), "sO", kind, what);
    if (done) return 0;
    int status = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ? 130 : 1;
    PyErr_Print(); /* Does not return for SystemExit. */
    return status;
}

static void check(PyStatus status) { if (PyStatus_Exception(status)) Py_ExitStatusException(status); }

static int python_main(int argc, char **argv, char **environment) {
    (void)environment;
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = config.install_signal_handlers = 1;
    check(PyConfig_SetBytesArgv(&config, argc, argv));
    check(Py_InitializeFromConfig(&config));
    int status = run();
    if (Py_FinalizeEx() < 0 && !status) status = 120;
    if (status == 130) { signal(SIGINT, SIG_DFL); raise(SIGINT); }
    return status;
}

typedef int start_t(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void), void *);

/* The C library's start of a program, which calls its `main`: here that of Python. */
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) {
    start_t *start = (start_t *)dlsym(RTLD_NEXT, "__libc_start_main");
    if (dlsym(RTLD_DEFAULT, "Py_InitializeFromConfig")) main = python_main;
    return start(main, argc, argv, init, fini, rtld_fini, stack_end);
}
