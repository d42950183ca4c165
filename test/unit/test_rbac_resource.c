#include "rbac_help.h"

#include "base/json.h"
#include "rbac/lock.h"
#include "rbac/resource.h"
#include "rbac/token.h"
#include "rbac/user.h"

#include <dirent.h>

static struct node *document(const char *text)
{
    struct node *node = NULL;
    struct tp_error error = {0};
    if (node_parse_one(text, strlen(text), "test", &node, &error))
        fail_msg("%s", error.text);
    return node;
}

static void test_user(void **state)
{
    struct node *node =
        document("kind: user\nversion: v2\nmetadata:\n  name: alice\nspec:\n  roles: ['dev2']\n  traits:\n"
                 "    logins: ['admin']\n    kubernetes_groups: ['edit']\n    uid: [1000]\n"
                 "  status: {is_locked: true, lock_expires: '2030-01-01T00:00:00Z'}\n");
    struct user *user = NULL;
    struct tp_error error = {0};
    (void)state;
    if (user_parse(node, &user, &error))
        fail_msg("%s", error.text);
    assert_string_equal(user->name, "alice");
    assert_int_equal(user->role_count, 1);
    assert_string_equal(user->roles[0], "dev2");
    assert_string_equal(json_string_value(json_array_get(json_object_get(user->traits, "uid"), 0)), "1000");
    assert_true(user_locked(user, 0));
    assert_false(user_locked(user, (int64_t)1893456000 * 1000));
    user_free(user);
    node_free(node);
}

static void test_bad_users(void **state)
{
    static const char *const bad[] = {"{kind: user, version: v2, metadata: {name: 'a b'}}",
                                      "{kind: user, version: v2, metadata: {name: '-a'}}",
                                      "{kind: user, version: v2, metadata: {name: '../a'}}",
                                      "{kind: user, version: v2, metadata: {name: a}, spec: {rolls: [x]}}",
                                      "{kind: user, version: v2, metadata: {name: a}, spec: {roles: x}}",
                                      "{kind: user, version: v2, metadata: {name: a}, spec: {traits: {a: {b: c}}}}"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct node *node = document(bad[i]);
        struct user *user = NULL;
        struct tp_error error = {0};
        assert_int_equal(user_parse(node, &user, &error), TP_INVALID);
        assert_non_null(strstr(error.text, "line 1"));
        node_free(node);
    }
}

static void test_token(void **state)
{
    struct node *node =
        document("{kind: token, version: v2, metadata: {name: 0123456789abcdef, expires: '2030-01-01T00:00:00Z'},"
                 " spec: {roles: [kube, Node], suggested_labels: {env: dev}}}");
    struct node *small = document("{kind: token, version: v2, metadata: {name: short}, spec: {roles: [node]}}");
    struct node *role =
        document("{kind: token, version: v2, metadata: {name: 0123456789abcdef}, spec: {roles: [admin]}}");
    struct token *token = NULL;
    struct tp_error error = {0};
    (void)state;
    if (token_parse(node, &token, &error))
        fail_msg("%s", error.text);
    assert_int_equal(token->roles, TOKEN_NODE | TOKEN_KUBE);
    assert_string_equal(token->join_method, "token");
    token_free(token);
    token = NULL;
    assert_int_equal(token_parse(small, &token, &error), TP_INVALID);
    assert_int_equal(token_parse(role, &token, &error), TP_INVALID);
    node_free(node);
    node_free(small);
    node_free(role);
}

static void test_locks(void **state)
{
    struct node *node =
        document("{kind: lock, version: v2, metadata: {name: l}, spec: {target: {user: alice, login: root},"
                 " message: stop, expires: '2030-01-01T00:00:00Z'}}");
    struct node *empty = document("{kind: lock, version: v2, metadata: {name: l}, spec: {target: {}}}");
    struct node *old = document("{kind: lock, version: v2, metadata: {name: l}, spec: {target: {node: id1}}}");
    struct lock *lock = NULL;
    struct lock *host = NULL;
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(lock_parse(empty, &lock, &error), TP_INVALID);
    if (lock_parse(node, &lock, &error) || lock_parse(old, &host, &error))
        fail_msg("%s", error.text);
    assert_true(lock_matches(lock, &(struct lock_target){.user = "alice"}));
    assert_true(lock_matches(lock, &(struct lock_target){.user = "alice", .login = "root"}));
    assert_false(lock_matches(lock, &(struct lock_target){.user = "alice", .login = "dev"}));
    assert_false(lock_matches(lock, &(struct lock_target){.user = "bob"}));
    assert_false(lock_matches(lock, &(struct lock_target){.role = "alice"}));
    assert_false(lock_matches(lock, &(struct lock_target){0}));
    assert_true(lock_matches(host, &(struct lock_target){.server_id = "id1"}));
    assert_true(lock_active(lock, 0));
    assert_false(lock_active(lock, (int64_t)1893456000 * 1000));
    assert_true(lock_active(host, INT64_MAX));
    lock_free(lock);
    lock_free(host);
    node_free(node);
    node_free(empty);
    node_free(old);
}

/* What a user's document says besides its keys. */
static void test_parts_of_a_user(void **state)
{
    static const struct {
        const char *spec, *metadata;
        int64_t expires_ms;
    } ends[] = {{"", "", 0},
                {"expires: '2030-01-01T00:00:00Z'", "", (int64_t)1893456000 * 1000},
                {"", ", expires: '2030-01-01T00:00:00Z'", (int64_t)1893456000 * 1000},
                {"expires: '2030-01-01T00:00:00Z'", ", expires: '2031-01-01T00:00:00Z'", (int64_t)1893456000 * 1000},
                {"expires: '2031-01-01T00:00:00Z'", ", expires: '2030-01-01T00:00:00Z'", (int64_t)1893456000 * 1000}};
    static const struct {
        const char *spec, *says;
    } bad[] = {{"roles: [good, '../bad']", "line 1: \"../bad\" cannot be the name of a role"},
               {"roles: ['']", "line 1: \"\" cannot be the name of a role"}};
    struct user *user = NULL;
    struct tp_error error = {0};
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char *text =
            mem_printf("{kind: user, version: v2, metadata: {name: a%s}, spec: {%s}}", ends[i].metadata, ends[i].spec);
        struct node *node = document(text);
        assert_int_equal(user_parse(node, &user, &error), TP_OK);
        assert_int_equal(user->expires_ms, ends[i].expires_ms);
        assert_int_equal(user->role_count, 0);
        assert_false(user_locked(user, 0));
        user_free(user);
        node_free(node);
        mem_free(text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = mem_printf("{kind: user, version: v2, metadata: {name: a}, spec: {%s}}", bad[i].spec);
        struct node *node = document(text);
        assert_int_equal(user_parse(node, &user, &error), TP_INVALID);
        assert_string_equal(error.text, bad[i].says);
        node_free(node);
        mem_free(text);
    }
    struct node *bare = document("{kind: user, version: v2, metadata: {name: a}}");
    assert_int_equal(user_parse(bare, &user, &error), TP_OK);
    assert_int_equal(json_object_size(user->traits), 0);
    user_free(user);
    node_free(bare);
    /* One value of a trait is a list of one, none at all is an empty one, and an empty text is a value. */
    struct node *node = document(
        "{kind: user, version: v2, metadata: {name: a}, spec: {traits: {one: x, none: null, empty: '', two: [a, b]}, "
        "status: {is_locked: true, locked_message: left}}}");
    assert_int_equal(user_parse(node, &user, &error), TP_OK);
    json_t *wanted = json_pack("{s:[s], s:[], s:[s], s:[s, s]}", "one", "x", "none", "empty", "", "two", "a", "b");
    assert_true(json_equal(user->traits, wanted));
    assert_string_equal(user->locked_message, "left");
    assert_true(user_locked(user, INT64_MAX));
    json_decref(wanted);
    user_free(user);
    node_free(node);
}

static void test_parts_of_a_token(void **state)
{
    struct token *token = NULL;
    struct tp_error error = {0};
    struct node *node =
        document("{kind: token, version: v2, metadata: {name: 0123456789abcdef},"
                 " spec: {roles: [App, windows_desktop], suggested_labels: {one: x, two: [a, b]}, join_method: iam}}");
    struct node *plain = document(
        "{kind: token, version: v2, metadata: {name: 0123456789abcdef}, spec: {roles: [node], join_method: token}}");
    struct node *cloud =
        document("{kind: token, version: v2, metadata: {name: short}, spec: {roles: [node], join_method: iam}}");
    struct node *none = document("{kind: token, version: v2, metadata: {name: 0123456789abcdef}, spec: {roles: []}}");
    (void)state;
    assert_int_equal(token_parse(node, &token, &error), TP_OK);
    assert_int_equal(token->roles, TOKEN_APP | TOKEN_WINDOWS_DESKTOP);
    assert_string_equal(token->join_method, "iam");
    json_t *wanted = json_pack("{s:[s], s:[s, s]}", "one", "x", "two", "a", "b");
    assert_true(json_equal(token->labels, wanted));
    json_decref(wanted);
    token_free(token);
    assert_int_equal(token_parse(plain, &token, &error), TP_OK);
    assert_int_equal(json_object_size(token->labels), 0);
    token_free(token);
    assert_int_equal(token_parse(cloud, &token, &error), TP_OK); /* its name is no secret */
    token_free(token);
    assert_int_equal(token_parse(none, &token, &error), TP_INVALID);
    assert_non_null(strstr(error.text, "a token needs at least one role"));
    node_free(node);
    node_free(plain);
    node_free(cloud);
    node_free(none);
    assert_string_equal(token_role_name(TOKEN_NODE), "Node");
    assert_string_equal(token_role_name(TOKEN_DISCOVERY), "Discovery");
    assert_null(token_role_name(0));
    assert_null(token_role_name(TOKEN_NODE | TOKEN_KUBE));
    assert_int_equal(token_role("WINDOWSDESKTOP"), TOKEN_WINDOWS_DESKTOP);
    assert_int_equal(token_role("Windows_Desktop"), TOKEN_WINDOWS_DESKTOP);
    assert_int_equal(token_role("nod"), 0);
    assert_true(token_name_masked("abcd****************"));
    assert_true(token_name_masked("****************"));
    assert_false(token_name_masked("***************"));
    assert_false(token_name_masked("****************a"));
    assert_false(token_name_masked(""));
}

static void test_parts_of_a_lock(void **state)
{
    static const struct {
        const char *metadata, *spec;
        bool good;
        int64_t expires_ms;
    } table[] = {
        {"", "target: {user: a}", true, 0},
        {"", "target: {user: a}, expires: '2030-01-01T00:00:00Z'", true, (int64_t)1893456000 * 1000},
        {", expires: '2030-01-01T00:00:00Z'", "target: {user: a}", true, (int64_t)1893456000 * 1000},
        {", expires: '2031-01-01T00:00:00Z'", "target: {user: a}, expires: '2030-01-01T00:00:00Z'", true,
         (int64_t)1893456000 * 1000},
        {"", "target: {node: a, server_id: a}", true, 0},
        {"", "target: {node: a, server_id: b}", false, 0},
        {"", "target: {user: ''}", false, 0},
        {"", "target: {user: null}", false, 0},
        {"", "target: {user: null, role: r}", true, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *text = mem_printf("{kind: lock, version: v2, metadata: {name: l%s}, spec: {%s}}", table[i].metadata,
                                table[i].spec);
        struct node *node = document(text);
        struct lock *lock = NULL;
        struct tp_error error = {0};
        if ((lock_parse(node, &lock, &error) == TP_OK) != table[i].good)
            fail_msg("%s: %s", text, error.text);
        if (lock) {
            assert_int_equal(lock->expires_ms, table[i].expires_ms);
            assert_null(lock->message);
        }
        lock_free(lock);
        node_free(node);
        mem_free(text);
    }
}

/* Checked elsewhere: by create, which sees all of a file, and by auth, which knows what is there. */
static bool checked_elsewhere(const char *name)
{
    static const char *const names[] = {"twice-in-one-file.yaml", "role-missing.yaml", "empty.yaml", NULL};
    for (size_t i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* One file of test/resources/bad; the sentence that it wants stands in its last line. */
static void check_bad_file(const char *name)
{
    static char text[65536];
    char *path = mem_printf(TPORT_SOURCE_DIR "/test/resources/bad/%s", name);
    struct tp_error error = {0};
    struct node **documents = NULL;
    size_t count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    const char *wanted = memmem(text, size, "# expect: ", 10);
    assert_non_null(wanted);
    char *expected = mem_strndup(wanted + 10, strcspn(wanted + 10, "\r\n"));
    enum tp_err err = node_parse(text, size, name, &documents, &count, &error);
    for (size_t i = 0; i < count && err == TP_OK; i++) {
        err = resource_check(documents[i], &error);
        if (err)
            err_prefix(&error, "%s", name);
    }
    if (err == TP_OK || !strstr(error.text, expected))
        fail_msg("%s: \"%s\" does not say \"%s\"", name, error.text, expected);
    for (size_t i = 0; i < count; i++)
        node_free(documents[i]);
    mem_free(documents);
    mem_free(expected);
    mem_free(path);
}

static void test_every_bad_file_says_where(void **state)
{
    DIR *folder = opendir(TPORT_SOURCE_DIR "/test/resources/bad");
    struct dirent *entry;
    size_t tried = 0;
    (void)state;
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.' || checked_elsewhere(entry->d_name))
            continue;
        check_bad_file(entry->d_name);
        tried++;
    }
    (void)closedir(folder);
    assert_true(tried > 35);
}

/* Everything of a file that Teleport wrote is taken. */
static void test_every_document_of_teleport_is_taken(void **state)
{
    static char text[65536];
    struct tp_error error = {0};
    struct node **documents = NULL;
    size_t count = 0;
    FILE *file = fopen(TPORT_SOURCE_DIR "/test/resources/good/tctl-get.yaml", "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text, file);
    (void)fclose(file);
    (void)state;
    assert_int_equal(node_parse(text, size, "good", &documents, &count, &error), TP_OK);
    assert_true(count > 10);
    for (size_t i = 0; i < count; i++) {
        if (resource_check(documents[i], &error))
            fail_msg("%s", error.text);
        json_t *json = node_to_json_exact(documents[i]);
        if (resource_check_json(json, &error))
            fail_msg("%s", error.text);
        json_decref(json);
        node_free(documents[i]);
    }
    mem_free(documents);
}

static void test_what_is_written_and_what_registers_itself(void **state)
{
    (void)state;
    assert_true(resource_single("cluster_auth_preference") && resource_single("session_recording_config"));
    assert_false(resource_single("role") || resource_single("app") || resource_single("nothing"));
    assert_true(resource_writable("role") && resource_writable("app") && resource_writable("node"));
    assert_false(resource_writable("kube_server") || resource_writable("cert_authority"));
    assert_false(resource_single("node"));
}

static enum tp_err check_openssh(const char *spec)
{
    struct tp_error error = {0};
    char *text = mem_printf("{kind: node, sub_kind: openssh, version: v2, metadata: {}, spec: {%s}}", spec);
    struct node *node = document(text);
    enum tp_err err = resource_check(node, &error);
    node_free(node);
    mem_free(text);
    return err;
}

static void test_where_a_server_without_an_agent_is(void **state)
{
    static const struct {
        const char *spec;
        bool good;
    } cases[] = {
        {"hostname: a, addr: 'a:1'", true},
        {"hostname: a_b-c.example.com, addr: '10.0.0.5:65535'", true},
        {"hostname: a, addr: '[::1]:22'", true},
        {"hostname: a, addr: 'a:22', public_addrs: [], cmd_labels: {}, use_tunnel: no", true},
        {"hostname: a, addr: 'a:22', public_addrs: ~, cmd_labels: ~, use_tunnel: ~", true},
        {"hostname: a, addr: 'a:22', cmd_labels: text", false},
        {"hostname: a, addr: 'a:22', cmd_labels: [a]", false},
        {"hostname: a, addr: 'a:0'", false},
        {"hostname: a, addr: 'a:65536'", false},
        {"hostname: a, addr: 'a:99999999999999999999'", false},
        {"hostname: a, addr: 'a:'", false},
        {"hostname: a, addr: 'a:2x'", false},
        {"hostname: a, addr: 'a:-2'", false},
        {"hostname: a, addr: 'a: 22'", false},
        {"hostname: a, addr: ''", false},
        {"hostname: a, addr: '22'", false},
        {"hostname: a, addr: ':22'", false},
        {"hostname: a, addr: '::1:22'", false},
        {"hostname: a, addr: '[::1:22'", false},
        {"hostname: a, addr: '::1]:22'", false},
        {"hostname: a, addr: 'x::1]:22'", false},
        {"hostname: a, addr: '[]:22'", false},
        {"hostname: a, addr: '[:22'", false},
        {"hostname: a, addr: '[a]:22'", false},
        {"hostname: a, addr: '[10.0.0.1]:22'", false},
        {"hostname: a, addr: 'a/b:22'", false},
        {"hostname: a, addr: 'root@a:22'", false},
        {"hostname: '', addr: 'a:22'", false},
        {"hostname: '.a', addr: 'a:22'", false},
        {"hostname: '-a', addr: 'a:22'", false},
        {"hostname: 'a.', addr: 'a:22'", false},
        {"hostname: 'a b', addr: 'a:22'", false},
        {"hostname: 'a:22', addr: 'a:22'", false},
        /* What an id may look like, and what is longer, shorter or of other letters. */
        {"hostname: 5DA56852-2adb-4540-a37c-80790203f6a9, addr: 'a:22'", false},
        {"hostname: 5da56852-2adb-4540-a37c-80790203f6a, addr: 'a:22'", true},
        {"hostname: 5da56852-2adb-4540-a37c-80790203f6a90, addr: 'a:22'", true},
        {"hostname: 5da56852-2adb-4540-a37c-80790203f6ag, addr: 'a:22'", true},
        {"hostname: 5da56852-2adb-4540-a37c-80790203f6a9g, addr: 'a:22'", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if ((check_openssh(cases[i].spec) == TP_OK) != cases[i].good)
            fail_msg("%s", cases[i].spec);
    for (size_t size = 253; size <= 254; size++) {
        char *spec = mem_printf("hostname: '%0*d', addr: 'a:22'", (int)size, 0);
        assert_int_equal(check_openssh(spec), size == 253 ? TP_OK : TP_INVALID);
        mem_free(spec);
    }
}

/* No name, a null, or one that can be one. */
static void test_a_server_without_an_agent_needs_no_name(void **state)
{
    static const char *const good[] = {"metadata: ~, ", "", "metadata: {name: ~}, ", "metadata: {name: a.b}, "};
    static const char *const bad[] = {"metadata: {name: ''}, ", "metadata: {name: a/b}, ", "metadata: [], "};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good + sizeof bad / sizeof *bad; i++) {
        bool wanted = i < sizeof good / sizeof *good;
        const char *metadata = wanted ? good[i] : bad[i - sizeof good / sizeof *good];
        char *text =
            mem_printf("{kind: node, sub_kind: openssh, version: v2, %sspec: {hostname: a, addr: 'a:1'}}", metadata);
        struct tp_error error = {0};
        struct node *node = document(text);
        if ((resource_check(node, &error) == TP_OK) != wanted)
            fail_msg("%s: %s", text, error.text);
        node_free(node);
        mem_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_user),
                                       cmocka_unit_test(test_bad_users),
                                       cmocka_unit_test(test_token),
                                       cmocka_unit_test(test_locks),
                                       cmocka_unit_test(test_parts_of_a_user),
                                       cmocka_unit_test(test_parts_of_a_token),
                                       cmocka_unit_test(test_parts_of_a_lock),
                                       cmocka_unit_test(test_every_bad_file_says_where),
                                       cmocka_unit_test(test_every_document_of_teleport_is_taken),
                                       cmocka_unit_test(test_what_is_written_and_what_registers_itself),
                                       cmocka_unit_test(test_where_a_server_without_an_agent_is),
                                       cmocka_unit_test(test_a_server_without_an_agent_needs_no_name)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
