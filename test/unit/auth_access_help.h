/* What tests of access to servers share: roles, hosts, connections. */
#ifndef TEST_AUTH_ACCESS_HELP_H
#define TEST_AUTH_ACCESS_HELP_H

#include "auth/inner.h"
#include "auth/live.h"
#include "auth_help.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

static inline void put_role(struct fixture *fixture, const char *name, const char *login, const char *label,
                            const char *deny_label)
{
    json_t *role =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:[s], s:{s:s}}, s:{}}}", "kind", "role", "version", "v7", "metadata",
                  "name", name, "spec", "allow", "logins", login, "node_labels", "environment", label, "deny");
    if (deny_label != NULL) {
        json_object_set_new(json_object_get(json_object_get(role, "spec"), "deny"), "node_labels",
                            json_pack("{s:s}", "environment", deny_label));
    }
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o, s:b}", "resource", role, "force", 1)));
}

static inline void put_host(struct fixture *fixture, const char *id, const char *name, const char *environment, bool up)
{
    struct keys keys = keys_make();
    json_decref(
        must(fixture, as_nobody("10.8.8.8"), "host.join", join_params("static-secret-of-the-file", id, name, &keys)));
    keys_free(&keys);
    json_decref(must(fixture, as_host(id, name), "host.heartbeat",
                     json_pack("{s:s, s:{s:s}}", "hostname", name, "labels", "environment", environment)));
    if (up) {
        json_decref(must(fixture, as_host(id, name), "tunnel.up", json_pack("{s:i, s:i}", "worker", 1, "tunnel", 5)));
    }
}

static inline json_t *target(const char *name)
{
    return json_pack("{s:s, s:i}", "target", name, "worker", 1);
}

static inline bool is_cut(struct fixture *fixture, const char *sid)
{
    const struct live *live = map_get(fixture->auth->live, sid);
    assert_non_null(live);
    return live->cut;
}

static inline char *connect_as(struct fixture *fixture, const char *user, const char *name)
{
    json_t *result = must(fixture, as_user(fixture, user), "ssh.connect", target(name));
    char *sid = mem_strdup(json_get_text(result, "sid", ""));
    json_decref(result);
    return sid;
}

/* The disk takes nothing from disk_refuses to disk_takes, as when it is full. */
struct disk {
    struct rlimit limit;
    void (*handler)(int);
};

static inline struct disk disk_refuses(void)
{
    struct disk disk;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &disk.limit), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = disk.limit.rlim_max};
    disk.handler = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    return disk;
}

static inline void disk_takes(const struct disk *disk)
{
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &disk->limit), 0);
    (void)signal(SIGXFSZ, disk->handler);
}

#endif
