#include "core/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* All a worker needs after its set-up. openat is not among them: it opens no file. */
/* clang-format off */
static const int worker_calls[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
    SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(epoll_ctl),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(close), SCMP_SYS(accept4), SCMP_SYS(shutdown), SCMP_SYS(getsockname),
    SCMP_SYS(getpeername), SCMP_SYS(setsockopt), SCMP_SYS(getsockopt), SCMP_SYS(fcntl), SCMP_SYS(dup), SCMP_SYS(dup3),
    SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk),
    SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday),
    SCMP_SYS(time), SCMP_SYS(getrandom), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(getpid), SCMP_SYS(gettid),
    SCMP_SYS(restart_syscall), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(lseek), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(getrusage), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(sysinfo), SCMP_SYS(epoll_create1), SCMP_SYS(eventfd2), SCMP_SYS(pipe2), SCMP_SYS(pread64),
};
/* clang-format on */

/* What a worker needs in one form only: no code that was not there from the start, no typing into a terminal the log may
 * be, no signals and limits for the other workers, which have the same user. */
static int add_narrow_calls(scmp_filter_ctx filter)
{
    static const scmp_datum_t requests[] = {FIONBIO, FIOCLEX, FIONREAD};
    int failed = 0;
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    failed |=
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    failed |=
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_EQ, 0));
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, requests[i]));
    return failed;
}

/* What auth must not do although it works with files. */
/* clang-format off */
static const int auth_refused[] = {
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(socket), SCMP_SYS(connect),
    SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(unshare), SCMP_SYS(setns),
    SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setgroups), SCMP_SYS(bpf),
    SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(init_module), SCMP_SYS(finit_module),
    SCMP_SYS(kexec_load), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(reboot),
    SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(personality),
};
/* clang-format on */

enum tp_err sandbox_no_new_privileges(struct tp_error *error)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_errno(error, errno, "can't give up new privileges");
    return TP_OK;
}

enum tp_err sandbox_enter(enum sandbox_role role, struct tp_error *error)
{
    scmp_filter_ctx filter;
    int failed = 0;
    enum tp_err err = sandbox_no_new_privileges(error);

    if (err != TP_OK)
        return err;
    /* Nobody with our own uid may trace us or read our memory. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#ifdef TPORT_SANITIZE
    (void)role;
    (void)filter;
    (void)failed;
    (void)worker_calls;
    (void)add_narrow_calls;
    (void)auth_refused;
    return TP_OK;
#else
    filter = seccomp_init(role == SANDBOX_WORKER ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW);
    if (!filter)
        return err_set(error, TP_UNAVAILABLE, "this kernel has no seccomp filters");
    if (role == SANDBOX_WORKER) {
        for (size_t i = 0; i < sizeof(worker_calls) / sizeof(worker_calls[0]); i++)
            failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, worker_calls[i], 0) != 0;
        failed |= add_narrow_calls(filter) != 0;
    } else {
        for (size_t i = 0; i < sizeof(auth_refused) / sizeof(auth_refused[0]); i++)
            failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), auth_refused[i], 0) != 0;
    }
    if (!failed)
        failed = seccomp_load(filter) != 0;
    seccomp_release(filter);
    return failed ? err_set(error, TP_UNAVAILABLE, "the kernel refuses the seccomp filter") : TP_OK;
#endif
}

/* name: whose groups, or NULL. */
static enum tp_err become(const char *name, uid_t uid, gid_t gid, struct tp_error *error)
{
    int groups = name ? initgroups(name, gid) : setgroups(0, NULL);
    if (groups != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        return name ? err_errno(error, errno, "can't become user %s", name)
                    : err_errno(error, errno, "can't become user %u", (unsigned)uid);
    if (uid != 0 && setuid(0) == 0)
        return err_set(error, TP_INTERNAL, "user %u can become root again", (unsigned)uid);
    return TP_OK;
}

enum tp_err sandbox_become(const char *user, struct tp_error *error)
{
    const struct passwd *entry;
    if (geteuid() != 0 || !*user)
        return TP_OK;
    errno = 0;
    entry = getpwnam(user);
    if (!entry)
        return err_set(error, TP_NOT_FOUND,
                       "there is no user %s on this machine: make install makes it, or useradd --system %s", user,
                       user);
    return become(user, entry->pw_uid, entry->pw_gid, error);
}

enum tp_err sandbox_become_owner(uid_t uid, gid_t gid, struct tp_error *error)
{
    const struct passwd *entry;
    if (geteuid() != 0 || uid == 0)
        return TP_OK;
    entry = getpwuid(uid);
    return entry ? become(entry->pw_name, uid, entry->pw_gid, error) : become(NULL, uid, gid, error);
}
