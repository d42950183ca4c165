#include "rbac_help.h"

#include "rbac/lock.h"
#include "rbac/token.h"
#include "rbac/user.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_user), cmocka_unit_test(test_bad_users),
                                       cmocka_unit_test(test_token), cmocka_unit_test(test_locks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
