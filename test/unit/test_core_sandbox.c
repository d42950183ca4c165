/* What a worker that was taken over still can do to its neighbours: nothing. */
#include "core/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

/* Runs in a sandboxed child; the number of the first thing that went otherwise than it should, or 0. */
static int try_all(pid_t neighbour)
{
    struct rlimit limit = {16, 16};
    char key = 'x';
    int zero = 1;
    int pair[2];
    void *memory;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || sandbox_enter(SANDBOX_WORKER, NULL) != TP_OK)
        return 1;
    if (syscall(SYS_tgkill, neighbour, neighbour, SIGKILL) == 0)
        return 2;
    if (prlimit(neighbour, RLIMIT_NOFILE, &limit, NULL) == 0)
        return 3;
    if (ioctl(2, TIOCSTI, &key) == 0 || errno != EPERM)
        return 4;
    memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, 4096, PROT_READ | PROT_EXEC) == 0)
        return 5;
    if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        return 6;
    if (open("/etc/passwd", O_RDONLY) >= 0 || socket(AF_INET, SOCK_STREAM, 0) >= 0)
        return 7;
    /* What it does need. */
    if (ioctl(pair[0], FIONBIO, &zero) != 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        mprotect(memory, 4096, PROT_READ) != 0)
        return 8;
    if (signal(SIGUSR1, SIG_IGN) == SIG_ERR || raise(SIGUSR1) != 0)
        return 9;
    return 0;
}

static void test_F11_a_taken_over_worker_reaches_no_neighbour(void **state)
{
    pid_t neighbour;
    pid_t worker;
    int status = 0;
    (void)state;
#ifdef TPORT_SANITIZE
    skip();
#endif
    neighbour = fork();
    assert_true(neighbour >= 0);
    if (neighbour == 0) {
        (void)pause();
        _exit(0);
    }
    worker = fork();
    assert_true(worker >= 0);
    if (worker == 0)
        _exit(try_all(neighbour));
    assert_int_equal(waitpid(worker, &status, 0), worker);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(waitpid(neighbour, NULL, WNOHANG), 0);
    (void)kill(neighbour, SIGKILL);
    (void)waitpid(neighbour, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_F11_a_taken_over_worker_reaches_no_neighbour)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
