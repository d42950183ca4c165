#include "session/sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum tp_err sandbox_prepare(struct tp_error *error)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        prctl(PR_SET_NAME, "tport-session", 0, 0, 0) != 0) {
        return err_errno(error, errno, "the process could not give up new privileges");
    }
    /* clang-format off */
    static const struct { int what; rlim_t value; } LIMITS[] = {
        {RLIMIT_CORE, 0}, {RLIMIT_NPROC, 0}, {RLIMIT_NOFILE, 1024},
    };
    for (size_t i = 0; i < sizeof(LIMITS) / sizeof(LIMITS[0]); i++) {
        struct rlimit limit = {LIMITS[i].value, LIMITS[i].value};
        struct rlimit old;
        if (getrlimit(LIMITS[i].what, &old) == 0 && old.rlim_max < limit.rlim_max) {
            continue; /* stricter already */
        }
        if (setrlimit(LIMITS[i].what, &limit) != 0) {
            return err_errno(error, errno, "a resource limit could not be set");
        }
    }
    return TP_OK;
}

#ifdef TPORT_SANITIZE

enum tp_err sandbox_seal(struct tp_error *error) {
    (void)error;
    return TP_OK;
}

#else

static const int ALLOWED[] = {
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(sendto), SCMP_SYS(sendmsg),
    SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(accept4), SCMP_SYS(shutdown), SCMP_SYS(getsockname),
    SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(close), SCMP_SYS(dup), SCMP_SYS(dup3),
    SCMP_SYS(fcntl), SCMP_SYS(ioctl), SCMP_SYS(lseek), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(poll),
    SCMP_SYS(ppoll), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl), SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
    SCMP_SYS(getegid), SCMP_SYS(brk), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(mprotect),
    SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(tgkill), SCMP_SYS(uname), SCMP_SYS(rseq), SCMP_SYS(set_robust_list),
};
/* clang-format on */

/* These are never an accident: somebody has taken the process over. */
/* clang-format off */
static const int DEADLY[] = {
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(ptrace), SCMP_SYS(socket),
    SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
    SCMP_SYS(bpf), SCMP_SYS(mount), SCMP_SYS(setuid), SCMP_SYS(setresuid), SCMP_SYS(init_module), SCMP_SYS(kexec_load),
    SCMP_SYS(pidfd_getfd), SCMP_SYS(unshare), SCMP_SYS(setns),
};
/* clang-format on */

enum tp_err sandbox_seal(struct tp_error *error)
{
    /* Everything that is in neither list fails with EPERM: libraries cope with that, an attacker is no further. */
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL) {
        return err_set(error, TP_INTERNAL, "the system-call filter could not be made");
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(ALLOWED) / sizeof(ALLOWED[0]); i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, ALLOWED[i], 0);
    }
    for (size_t i = 0; rc == 0 && i < sizeof(DEADLY) / sizeof(DEADLY[0]); i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, DEADLY[i], 0);
    }
    if (rc == 0) {
        rc = seccomp_load(filter);
    }
    seccomp_release(filter);
    return rc == 0 ? TP_OK : err_errno(error, -rc, "the system-call filter could not be loaded");
}

#endif
