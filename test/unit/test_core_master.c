/*
 * Which exits of a child end everything, and which are started again. This program is its own master and its own children:
 * what it is told as the path of the configuration says how they behave.
 */
#include "base/log.h"
#include "base/mem.h"
#include "core/loop.h"
#include "core/master.h"
#include "core/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---- a child ---- */

struct child_world {
    struct loop *loop;
    struct timer *timer;
};

static void on_config(void *ctx, struct rpc *rpc, const char *event, json_t *params, int fd)
{
    struct child_world *world = ctx;
    const char *how = json_get_text(params, "how", "serve");
    if (fd >= 0)
        (void)close(fd);
    if (strcmp(event, "config") != 0)
        return;
    if (strncmp(how, "exit", 4) == 0)
        _exit(atoi(how + 4));
    rpc_event(rpc, "ready", json_object());
    if (strncmp(how, "ready", 5) == 0)
        timer_start(world->timer, 200, 0);
}

static void exit_pointless(void *ctx)
{
    (void)ctx;
    _exit(MASTER_CHILD_POINTLESS);
}

static void on_master_gone(void *ctx, struct rpc *rpc, enum close_reason reason)
{
    (void)ctx;
    (void)rpc;
    (void)reason;
    _exit(0);
}

static int child_main(void)
{
    static const struct rpc_events events = {.on_event = on_config, .on_close = on_master_gone};
    struct child_world world = {.loop = loop_new()};
    world.timer = timer_new(world.loop, exit_pointless, &world);
    (void)!rpc_new_fd(world.loop, 3, &events, &world);
    loop_run(world.loop);
    return 0;
}

/* ---- master: "DIR AUTH WORKER" in place of a configuration ---- */

static enum tp_err load(const char *path, struct master_plan *plan, struct tp_error *error)
{
    char dir[64], auth[16], worker[16];
    if (sscanf(path, "%63s %15s %15s", dir, auth, worker) != 3)
        return err_set(error, TP_INVALID, "no plan");
    *plan = (struct master_plan){.auth = json_pack("{s:s}", "how", auth),
                                 .worker = json_pack("{s:s}", "how", worker),
                                 .worker_count = 1,
                                 .listen = json_array(),
                                 .watched = json_array(),
                                 .data_dir = mem_printf("%s/data", dir),
                                 .pid_file = mem_printf("%s/pid", dir),
                                 .log_level = mem_strdup("info"),
                                 .auth_user = mem_strdup(""),
                                 .worker_user = mem_strdup(""),
                                 .agent_user = mem_strdup("")};
    return TP_OK;
}

/* ---- the tests ---- */

struct place {
    char dir[64];
    pid_t master;
    char log[65536];
};

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int setup(void **state)
{
    struct place *place = mem_alloc(sizeof(*place));
    strcpy(place->dir, "/tmp/tport-master-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    if (place->master > 0) {
        (void)kill(place->master, SIGKILL);
        (void)waitpid(place->master, NULL, 0);
    }
    (void)nftw(place->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(place);
    return 0;
}

static void run(struct place *place, const char *auth, const char *worker)
{
    char *spec = mem_printf("%s %s %s", place->dir, auth, worker);
    char *log = mem_printf("%s/log", place->dir);
    char *const argv[] = {(char *)(uintptr_t) "test_core_master", (char *)(uintptr_t) "master", spec, NULL};
    place->master = fork();
    if (place->master == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        (void)dup2(fd, STDERR_FILENO);
        (void)execv("/proc/self/exe", argv);
        _exit(127);
    }
    mem_free(spec);
    mem_free(log);
}

static const char *log_text(struct place *place)
{
    char *path = mem_printf("%s/log", place->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, place->log, sizeof(place->log) - 1) : 0;
    place->log[got > 0 ? got : 0] = '\0';
    if (fd >= 0)
        (void)close(fd);
    mem_free(path);
    return place->log;
}

static size_t count(struct place *place, const char *words)
{
    size_t found = 0;
    for (const char *at = log_text(place); (at = strstr(at, words)); at++)
        found++;
    return found;
}

/* Its exit code, or -1: it runs on. */
static int ended(struct place *place, int64_t within_ms)
{
    int status = 0;
    for (int64_t waited = 0; waited < within_ms; waited += 20) {
        if (waitpid(place->master, &status, WNOHANG) == place->master) {
            place->master = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
        }
        (void)usleep(20000);
    }
    return -1;
}

static void wait_for(struct place *place, const char *words, size_t times)
{
    for (int i = 0; i < 1000; i++) {
        if (count(place, words) >= times)
            return;
        (void)usleep(20000);
    }
    fail_msg("\"%s\" is not in: %s", words, log_text(place));
}

static void assert_goes_on(struct place *place)
{
    assert_int_equal(ended(place, 300), -1);
    assert_int_equal(count(place, "cannot run with what is on the disk"), 0);
    assert_int_equal(kill(place->master, SIGTERM), 0);
    assert_int_equal(ended(place, 20000), 0);
}

static void test_auth_that_can_never_run_ends_everything_once(void **state)
{
    struct place *place = *state;
    run(place, "exit78", "serve");
    assert_int_equal(ended(place, 20000), 1);
    assert_int_equal(count(place, "cannot run with what is on the disk"), 1);
    assert_int_equal(count(place, "starting it again"), 0);
    assert_int_equal(count(place, "process started role=auth"), 1);
}

static void test_auth_that_fails_otherwise_is_started_again(void **state)
{
    struct place *place = *state;
    run(place, "exit1", "serve");
    wait_for(place, "process died, starting it again role=auth", 2);
    assert_goes_on(place);
}

/* It has served, so what is on the disk was good: strangers must not find a way to end everything. */
static void test_auth_that_has_served_is_started_again_whatever_its_exit(void **state)
{
    struct place *place = *state;
    run(place, "ready", "serve");
    wait_for(place, "process died, starting it again role=auth", 2);
    assert_true(strstr(log_text(place), "status=78") != NULL);
    assert_goes_on(place);
}

/* Workers talk to strangers: their exit ends nobody but themselves. */
static void test_a_worker_cannot_end_everything(void **state)
{
    struct place *place = *state;
    run(place, "serve", "exit78");
    wait_for(place, "process died, starting it again role=worker", 2);
    assert_true(strstr(log_text(place), "status=78") != NULL);
    assert_goes_on(place);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_auth_that_can_never_run_ends_everything_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_auth_that_fails_otherwise_is_started_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_auth_that_has_served_is_started_again_whatever_its_exit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_worker_cannot_end_everything, setup, teardown),
    };
    if (argc > 1 && strcmp(argv[1], "--child") == 0)
        return child_main();
    if (argc > 2 && strcmp(argv[1], "master") == 0) {
        log_init("master", 2, LOG_LEVEL_INFO, false);
        return master_run(argv[2], argv, load);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
