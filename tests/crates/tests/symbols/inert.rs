//! Functions of the C library that a simulated program may call for real: none of them tells of, waits for or changes what is
//! simulated.

/// Groups of them, each with why.
pub(crate) const INERT: &[(&str, &[&str])] = &[
    (
        "memory: addresses differ from run to run, and no trace holds any",
        &["calloc", "free", "malloc", "memfd_create", "mprotect", "mremap", "posix_memalign", "realloc"],
    ),
    (
        "bytes and strings: results are of their arguments alone",
        &[
            "bcmp", "memchr", "memcmp", "memcpy", "memmove", "memset", "qsort", "strchr", "strcmp",
            "strcspn", "strlen", "strncmp", "strnlen", "strrchr", "strspn",
        ],
    ),
    ("the calendar of UTC: results are of their arguments alone", &["gmtime", "gmtime_r", "timegm"]),
    (
        "numbers: results are of their arguments alone",
        &["__floattidf", "__floatuntidf", "__umodti3", "exp", "log", "pow"],
    ),
    (
        "unwinding: it walks the stack of the thread that panics",
        &[
            "_Unwind_Backtrace",
            "_Unwind_DeleteException",
            "_Unwind_FindEnclosingFunction",
            "_Unwind_GetCFA",
            "_Unwind_GetDataRelBase",
            "_Unwind_GetIP",
            "_Unwind_GetIPInfo",
            "_Unwind_GetLanguageSpecificData",
            "_Unwind_GetRegionStart",
            "_Unwind_GetTextRelBase",
            "_Unwind_RaiseException",
            "_Unwind_Resume",
            "_Unwind_SetGR",
            "_Unwind_SetIP",
        ],
    ),
    (
        "the loader: what is linked is the test binary, in all processes",
        &[
            "_ITM_deregisterTMCloneTable",
            "_ITM_registerTMCloneTable",
            "__cxa_finalize",
            "__dso_handle",
            "__gmon_start__",
            "__libc_start_main",
            "__tls_get_addr",
            "dl_iterate_phdr",
            "dlclose",
            "dlerror",
            "dlopen",
            "dlsym",
            "dlvsym",
            "getauxval",
            "gnu_get_libc_version",
        ],
    ),
    (
        "errors and their texts: errno is the thread's, and goes with it",
        &["__errno_location", "__xpg_strerror_r", "gai_strerror"],
    ),
    (
        "the environment: they work on `environ`, which is each process's own while it has its turn",
        &["environ", "getenv", "setenv", "unsetenv"],
    ),
    (
        "locks of the C library that are made, tried and unmade without a wait",
        &[
            "pthread_mutex_destroy",
            "pthread_mutex_init",
            "pthread_mutex_trylock",
            "pthread_mutexattr_destroy",
            "pthread_mutexattr_init",
            "pthread_mutexattr_settype",
        ],
    ),
    (
        "threads as data: a simulated one has a thread of the C library, and its stack and keys",
        &[
            "pthread_attr_destroy",
            "pthread_attr_getdetachstate",
            "pthread_attr_getguardsize",
            "pthread_attr_getstacksize",
            "pthread_attr_getstack",
            "pthread_attr_init",
            "pthread_attr_setstacksize",
            "pthread_detach",
            "pthread_getattr_np",
            "pthread_getspecific",
            "pthread_self",
            "pthread_setspecific",
        ],
    ),
    (
        "what a new process would be given: none is ever made",
        &[
            "pidfd_getpid",
            "posix_spawn_file_actions_addchdir",
            "posix_spawn_file_actions_addchdir_np",
            "posix_spawn_file_actions_destroy",
            "posix_spawn_file_actions_init",
            "posix_spawnattr_destroy",
            "posix_spawnattr_init",
            "posix_spawnattr_setflags",
            "posix_spawnattr_setpgroup",
            "posix_spawnattr_setsigdefault",
            "sigaddset",
            "sigemptyset",
        ],
    ),
    ("names: `getaddrinfo` is simulated, and has no configuration to read again", &["__res_init"]),
    (
        "numbers of signals: which there are is the machine's, and handlers are not simulated",
        &["__libc_current_sigrtmax", "__libc_current_sigrtmin"],
    ),
];
