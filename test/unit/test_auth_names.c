/* Servers by their names: what is found, is unclear, is no longer there, after any order of changes, as a plain search through all
 * of them says; and without such a search. */
#include "auth/access.h"
#include "auth/caller.h"
#include "auth/dispatch.h"
#include "auth/handlers.h"
#include "auth/hosts.h"
#include "auth/inner.h"
#include "auth_access_help.h"

#define HOSTS 9
#define STEPS 400

static unsigned walks; /* through a whole map */
void __real_map_each(struct map *map, void (*fn)(void *ctx, const char *key, void *value), void *ctx);
void __wrap_map_each(struct map *map, void (*fn)(void *ctx, const char *key, void *value), void *ctx);

void __wrap_map_each(struct map *map, void (*fn)(void *ctx, const char *key, void *value), void *ctx)
{
    walks++;
    __real_map_each(map, fn, ctx);
}

static const char *const names[] = {"web", "db", "cache-1", "web.demo.test", "db.demo.test"};
#define NAMES (sizeof names / sizeof names[0])

/* What the test itself knows of a host. */
struct known {
    char id[37];
    const char *name; /* NULL: it has not joined */
    bool seen;        /* he may list it */
    bool gone;        /* not seen for long */
};

static char *in_capitals(const char *text)
{
    char *copy = mem_strdup(text);
    for (char *p = copy; *p != '\0'; p++) {
        *p = (char)(*p >= 'a' && *p <= 'z' && (p - copy) % 2 == 0 ? *p - 'a' + 'A' : *p);
    }
    return copy;
}

static void look(struct fixture *fixture, const struct known *known, struct caller caller)
{
    struct call call = {.auth = fixture->auth, .caller = caller};
    for (size_t n = 0; n < NAMES; n++) {
        size_t count = 0;
        const char *id = NULL;
        for (size_t i = 0; i < HOSTS; i++) {
            if (known[i].name != NULL && strcmp(known[i].name, names[n]) == 0 && known[i].seen && !known[i].gone) {
                count++;
                id = known[i].id;
            }
        }
        struct tp_error error = {0};
        struct host *host = NULL;
        char *asked = in_capitals(names[n]);
        enum tp_err err = access_find_node(&call, asked, &host, &error);
        if (count == 1) {
            assert_int_equal(err, TP_OK);
            assert_string_equal(host->id, id);
        } else {
            char *said = mem_printf("%s is the name of %zu servers; ", asked, count);
            assert_int_equal(err, count == 0 ? TP_NOT_FOUND : TP_AMBIGUOUS);
            assert_true(count == 0 || strncmp(error.text, said, strlen(said)) == 0);
            mem_free(said);
        }
        mem_free(asked);
    }
}

/* Is the name a host's other than number own, by itself or in the cluster? */
static bool taken(const struct known *known, size_t own, const char *name)
{
    bool found = false;
    for (size_t i = 0; i < HOSTS; i++) {
        char *full = mem_printf("%s.demo.test", known[i].name != NULL ? known[i].name : "");
        found |= i != own && known[i].name != NULL && (strcmp(known[i].name, name) == 0 || strcmp(full, name) == 0);
        mem_free(full);
    }
    return found;
}

static void heartbeat(struct fixture *fixture, struct known *known)
{
    json_decref(must(
        fixture, as_host(known->id, known->name), "host.heartbeat",
        json_pack("{s:s, s:{s:s}}", "hostname", known->name, "labels", "environment", known->seen ? "dev" : "prod")));
    known->gone = false;
}

static void step(struct fixture *fixture, struct known *known, const struct keys *keys)
{
    size_t i = (size_t)(rand() % HOSTS);
    const char *name = names[rand() % (int)NAMES];
    char *written = in_capitals(name);
    struct known *host = &known[i];
    int kind = rand() % 6;
    char address[16]; /* one of its own: joins are limited by address */
    snprintf(address, sizeof address, "10.8.%d.%d", rand() % 250, rand() % 250);
    if (kind <= 1 || host->name == NULL) {
        json_decref(must(fixture, as_nobody(address), "host.join",
                         join_params("static-secret-of-the-file", host->id, written, keys)));
        host->name = name;
        heartbeat(fixture, host);
    } else if (kind == 2) {
        bool refused = strcmp(name, host->name) != 0 && taken(known, i, name);
        json_t *result =
            ask(fixture, as_host(host->id, host->name), "host.renew", join_params("", host->id, written, keys), NULL);
        assert_int_equal(result == NULL, refused);
        json_decref(result);
        host->name = refused ? host->name : name;
        host->gone = host->gone && refused;
    } else if (kind == 3) {
        json_decref(
            must(fixture, as_local(), "resources.rm", json_pack("{s:s, s:s}", "kind", "node", "name", host->id)));
        host->name = NULL;
    } else if (kind == 4) {
        host->seen = !host->seen;
        heartbeat(fixture, host);
    } else {
        hosts_get(fixture->auth, host->id)->last_seen_ms = 1;
        host->gone = true;
    }
    mem_free(written);
}

static void names_are_found_as_by_a_search_through_all(void **state)
{
    struct fixture *fixture = *state;
    struct keys keys = keys_make();
    struct known known[HOSTS] = {0};
    srand(20);
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    struct caller alice = as_user(fixture, "alice");
    for (size_t i = 0; i < HOSTS; i++) {
        snprintf(known[i].id, sizeof known[i].id, "%zu1111111-1111-4111-8111-111111111111", i);
        known[i].seen = true;
    }
    for (int i = 1; i <= STEPS; i++) {
        step(fixture, known, &keys);
        if (i % 100 == 0) { /* a restart; who was away for long has just been seen again */
            caller_free(&alice);
            fixture_shut(fixture);
            fixture_open(fixture);
            alice = as_user(fixture, "alice");
            for (size_t k = 0; k < HOSTS; k++) {
                known[k].gone = false;
            }
        }
        look(fixture, known, alice);
    }
    caller_free(&alice);
    keys_free(&keys);
}

/* Decisions cost the same with ten servers and with fifty thousand: nothing walks through all of them. */
static void a_name_is_found_without_a_walk(void **state)
{
    struct fixture *fixture = *state;
    struct tp_error error = {0};
    struct host *host = NULL;
    put_role(fixture, "dev", "ubuntu", "dev", NULL);
    mem_free(make_user(fixture, "alice", "dev", "root"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "web-1", "dev", true);
    struct call call = {.auth = fixture->auth, .caller = as_user(fixture, "alice")};
    walks = 0;
    assert_int_equal(access_find_node(&call, HOST_A, &host, &error), TP_OK);
    assert_int_equal(access_find_node(&call, "web-1", &host, &error), TP_AMBIGUOUS);
    assert_true(host_names_taken(fixture->auth, HOST_A, "Web-1.demo.test"));
    assert_true(host_names_taken(fixture->auth, HOST_A, "web-1.DEMO.test"));
    assert_true(host_names_taken(fixture->auth, HOST_A, HOST_B));
    assert_false(host_names_taken(fixture->auth, HOST_A, "web-2"));
    assert_int_equal(walks, 0);
    /* Only what is not there is compared with all, those with an agent and those without, for the sentence that names what may
     * be meant. */
    assert_int_equal(access_find_node(&call, "web-2", &host, &error), TP_NOT_FOUND);
    assert_int_equal(walks, 2);
    caller_free(&call.caller);
}

/* A lock takes ids; that a name is one says only who may list a server of this name, whichever of them it is. */
static void a_lock_on_a_name_names_the_one_that_may_be_listed(void **state)
{
    struct fixture *fixture = *state;
    json_t *rule = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:{s:s}, s:[{s:[s], s:[s]}]}}}", "kind", "role", "version",
                             "v7", "metadata", "name", "locker", "spec", "allow", "node_labels", "environment", "dev",
                             "rules", "resources", "lock", "verbs", "*");
    json_decref(must(fixture, as_local(), "resources.put", json_pack("{s:o, s:b}", "resource", rule, "force", 1)));
    mem_free(make_user(fixture, "alice", "locker", "root"));
    put_host(fixture, HOST_A, "web-1", "dev", true);
    put_host(fixture, HOST_B, "web-1", "prod", true);
    put_host(fixture, "33333333-3333-4333-8333-333333333333", "vault", "prod", true);
    for (int i = 0; i < 2; i++) {
        struct tp_error error = {0};
        json_t *lock = json_pack("{s:s, s:s, s:{s:s}, s:{s:{s:s}}}", "kind", "lock", "version", "v2", "metadata",
                                 "name", "l", "spec", "target", "server_id", i == 0 ? "WEB-1" : "vault");
        json_t *result =
            ask(fixture, as_user(fixture, "alice"), "resources.put", json_pack("{s:o}", "resource", lock), &error);
        assert_int_equal(result != NULL, i == 1);
        assert_true(i == 1 || strstr(error.text, "the id of web-1 is " HOST_A) != NULL);
        json_decref(result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_are_found_as_by_a_search_through_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_is_found_without_a_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_on_a_name_names_the_one_that_may_be_listed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
