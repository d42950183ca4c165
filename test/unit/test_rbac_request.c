#include "rbac_help.h"

#include "rbac/join.h"
#include "rbac/request.h"

static struct rbac_set *set_with(const char *name, const char *allow, const char *deny)
{
    struct rbac_user user = {.name = name};
    char *text =
        mem_printf("{kind: role, version: v7, metadata: {name: r1}, spec: {allow: %s, deny: %s}}", allow, deny);
    struct role *role = NULL;
    struct tp_error error = {0};
    if (role_parse_text(text, strlen(text), "role", ROLE_STORED, &role, &error))
        fail_msg("%s", error.text);
    struct rbac_set *set = rbac_set_new(&role, 1, &user, 0);
    role_unref(role);
    mem_free(text);
    return set;
}

static void said(const struct rbac_decision *decision, enum rbac_reason reason, const char *section, const char *detail)
{
    assert_int_equal(decision->reason, reason);
    assert_true(decision->allowed == (reason == RBAC_GRANTED));
    assert_string_equal(decision->section, section);
    assert_string_equal(decision->role, *section ? "r1" : "");
    assert_string_equal(decision->detail, detail);
}

/* What a decision says of itself: who grants, who denies, and what the person reads. */
static void test_requests_are_explained(void **state)
{
    struct rbac_set *set = set_with("alice", "{request: {roles: [dba]}}", "{request: {roles: [ops]}}");
    struct rbac_decision decision;
    (void)state;
    assert_int_equal(rbac_request_role(set, "dba", &decision), TP_OK);
    said(&decision, RBAC_GRANTED, "allow", "request");
    assert_string_equal(decision.text, "request of a role allowed");
    assert_int_equal(rbac_request_role(set, "ops", &decision), TP_DENIED);
    said(&decision, RBAC_DENIED_BY_RULE, "deny", "request");
    assert_string_equal(decision.text, "request of a role denied");
    assert_int_equal(rbac_request_role(set, "web", &decision), TP_DENIED);
    said(&decision, RBAC_NO_GRANT, "", "");
    assert_int_equal(rbac_request_role(set, "-web", &decision), TP_DENIED);
    said(&decision, RBAC_BAD_INPUT, "", "");
    assert_int_equal(rbac_request_role(set, "dba", NULL), TP_OK);
    assert_int_equal(rbac_request_role(set, "ops", NULL), TP_DENIED);
    rbac_set_free(set);
}

static void test_reviews_are_explained(void **state)
{
    struct rbac_set *set =
        set_with("alice", "{review_requests: {roles: [dba, ops]}}", "{review_requests: {roles: [ops]}}");
    json_t *roles = json_pack("[s]", "dba");
    struct rbac_request request = {.user = "bob", .roles = roles};
    struct rbac_decision decision;
    (void)state;
    assert_int_equal(rbac_review(set, &request, &decision), TP_OK);
    said(&decision, RBAC_GRANTED, "allow", "review_requests");
    json_array_append_new(roles, json_string("web"));
    assert_int_equal(rbac_review(set, &request, &decision), TP_DENIED);
    said(&decision, RBAC_NO_GRANT, "", "web");
    json_array_append_new(roles, json_string("ops"));
    assert_int_equal(rbac_review(set, &request, &decision), TP_DENIED);
    said(&decision, RBAC_DENIED_BY_RULE, "deny", "review_requests");
    /* Names that are no texts, and nobody who asks. */
    json_t *strange = json_pack("[i]", 5);
    request.roles = strange;
    assert_int_equal(rbac_review(set, &request, &decision), TP_DENIED);
    assert_int_equal(rbac_request_judge(set, &request, NULL, 0), RBAC_REQUEST_PENDING);
    assert_int_equal(rbac_request_max_ms(set, strange), 0);
    assert_false(rbac_request_needs_reason(set, strange));
    request.roles = roles;
    request.user = NULL;
    assert_int_equal(rbac_review(set, &request, &decision), TP_DENIED);
    said(&decision, RBAC_BAD_INPUT, "", "");
    json_decref(strange);
    json_decref(roles);
    rbac_set_free(set);
}

static void test_a_session_that_needs_others_names_the_role(void **state)
{
    struct rbac_set *set = set_with("alice", "{require_session_join: [{kinds: [ssh], count: 1}]}", "{}");
    struct rbac_session session = {set, "alice", "ssh"};
    char detail[64] = "";
    bool pause = true;
    (void)state;
    assert_false(rbac_session_may_run(&session, NULL, 0, &pause, detail, sizeof detail));
    assert_string_equal(detail, "r1");
    assert_false(rbac_session_may_run(&session, NULL, 0, NULL, NULL, 0));
    session.kind = "k8s";
    assert_true(rbac_session_may_run(&session, NULL, 0, &pause, detail, sizeof detail));
    assert_false(pause);
    assert_true(rbac_session_may_run(&session, NULL, 0, NULL, NULL, 0));
    assert_int_equal(rbac_join_mode("peer"), RBAC_PEER);
    assert_int_equal(rbac_join_mode("boss"), 0);
    rbac_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests_are_explained),
                                       cmocka_unit_test(test_reviews_are_explained),
                                       cmocka_unit_test(test_a_session_that_needs_others_names_the_role)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
