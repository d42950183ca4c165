/* R2 (requests), R7 (order of calls), R12 (environment): the tables of tport-session, row by row. */
#include "base/mem.h"
#include "session/environment.h"
#include "session/order.h"
#include "session/requests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_r2_unknown_names_have_no_row(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"",
                                        "shell ",
                                        "SHELL",
                                        "streamlocal-forward@openssh.com",
                                        "tun@openssh.com",
                                        "hostkeys-00@openssh.com",
                                        "xon-xoff",
                                        "break",
                                        "eow@openssh.com"};
    struct request_rights all = {true, true, true, true};
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        for (int place = REQUEST_GLOBAL; place <= REQUEST_SUBSYSTEM; place++) {
            assert_null(requests_find((enum request_place)place, NAMES[i]));
        }
    }
    assert_null(requests_find(REQUEST_CHANNEL, NULL));
    assert_null(requests_find(REQUEST_GLOBAL, "shell")); /* the place counts */
    assert_int_equal(requests_decide(NULL, &all, NULL), TP_DENIED);
}

static void test_r2_each_row_needs_its_verb(void **state)
{
    (void)state;
    size_t count = 0;
    const struct request_row *rows = requests_rows(&count);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(requests_find(rows[i].place, rows[i].name), &rows[i]);
        assert_ptr_equal(requests_row(rows[i].id), &rows[i]);
        struct request_rights none = {false, false, false, false};
        struct request_rights all = {true, true, true, true};
        bool free_of_charge = rows[i].verb == VERB_NONE || rows[i].verb == VERB_SESSION;
        assert_int_equal(requests_decide(&rows[i], &none, NULL), free_of_charge ? TP_OK : TP_DENIED);
        assert_int_equal(requests_decide(&rows[i], &all, NULL), rows[i].verb == VERB_NEVER ? TP_DENIED : TP_OK);
        struct request_rights one = {rows[i].verb == VERB_FILE_COPY, rows[i].verb == VERB_FORWARD_LOCAL,
                                     rows[i].verb == VERB_FORWARD_REMOTE, rows[i].verb == VERB_FORWARD_AGENT};
        assert_int_equal(requests_decide(&rows[i], &one, NULL), rows[i].verb == VERB_NEVER ? TP_DENIED : TP_OK);
    }
}

static void test_r2_file_copy_by_form(void **state)
{
    (void)state;
    static const char *const YES[] = {"scp -t .",
                                      " scp -f x",
                                      "/usr/bin/scp -t .",
                                      "scp",
                                      "sftp-server",
                                      "/usr/lib/openssh/sftp-server -e",
                                      "rsync --server -vlogDtpr . x",
                                      "scp;true",
                                      "/usr/bin/rsync  --server --sender . ."};
    static const char *const NO[] = {
        "", "ls", "scpx -t", "rsync -a x y", "echo scp", "rsyncd --server", "cat scp", "rsync --serverless", "/scp/ls"};
    for (size_t i = 0; i < sizeof(YES) / sizeof(YES[0]); i++) {
        assert_true(requests_is_file_copy(YES[i]));
    }
    for (size_t i = 0; i < sizeof(NO) / sizeof(NO[0]); i++) {
        assert_false(requests_is_file_copy(NO[i]));
    }
}

static const enum order_kind KINDS[] = {ORDER_KIND_SSH, ORDER_KIND_SHELL, ORDER_KIND_FILE};

static void test_r7_calls_outside_their_state_or_kind_end_the_connection(void **state)
{
    (void)state;
    static const enum order_state STATES[] = {ORDER_UNAUTHENTICATED, ORDER_AUTHENTICATED, ORDER_ENDING};
    size_t count = 0;
    const struct order_row *rows = order_rows(&count);
    assert_int_equal(count, ORDER_METHOD_COUNT);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < sizeof(STATES) / sizeof(STATES[0]); k++) {
            for (size_t j = 0; j < sizeof(KINDS) / sizeof(KINDS[0]); j++) {
                struct order order = {{0}};
                enum order_method method = ORDER_METHOD_COUNT;
                enum tp_err err = order_check(&order, KINDS[j], STATES[k], rows[i].name, &method, NULL);
                if ((rows[i].states & STATES[k]) != 0 && (rows[i].kinds & KINDS[j]) != 0) {
                    assert_int_equal(err, TP_OK);
                    assert_int_equal(method, rows[i].method);
                } else {
                    assert_int_equal(err, TP_PROTOCOL);
                }
            }
        }
    }
    struct order order = {{0}};
    enum order_method method = ORDER_METHOD_COUNT;
    const enum order_kind ssh = ORDER_KIND_SSH;
    assert_int_equal(order_check(&order, ssh, ORDER_UNAUTHENTICATED, "open_shell", &method, NULL), TP_PROTOCOL);
    assert_int_equal(order_check(&order, ssh, ORDER_AUTHENTICATED, "auth", &method, NULL), TP_PROTOCOL);
    assert_int_equal(order_check(&order, ssh, ORDER_AUTHENTICATED, "", &method, NULL), TP_PROTOCOL);
    assert_int_equal(order_check(&order, ssh, ORDER_AUTHENTICATED, "setuid", &method, NULL), TP_PROTOCOL);
}

static void test_r7_calls_past_their_number_end_the_connection(void **state)
{
    (void)state;
    size_t count = 0;
    const struct order_row *rows = order_rows(&count);
    for (size_t i = 0; i < count; i++) {
        struct order order = {{0}};
        enum order_method method = ORDER_METHOD_COUNT;
        enum order_state where =
            (rows[i].states & ORDER_UNAUTHENTICATED) != 0 ? ORDER_UNAUTHENTICATED : ORDER_AUTHENTICATED;
        enum order_kind kind = (rows[i].kinds & ORDER_KIND_SSH) != 0 ? ORDER_KIND_SSH : ORDER_KIND_FILE;
        uint32_t tries = rows[i].max == 0 ? 1000 : rows[i].max;
        for (uint32_t k = 0; k < tries; k++) {
            assert_int_equal(order_check(&order, kind, where, rows[i].name, &method, NULL), TP_OK);
        }
        assert_int_equal(order_check(&order, kind, where, rows[i].name, &method, NULL),
                         rows[i].max == 0 ? TP_OK : TP_PROTOCOL);
    }
}

static void test_r12_environment_allow_list(void **state)
{
    (void)state;
    static const char *const ALWAYS[] = {"LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLORTERM"};
    static const char *const NEVER[] = {"LD_PRELOAD",
                                        "LD_LIBRARY_PATH",
                                        "BASH_ENV",
                                        "ENV",
                                        "IFS",
                                        "PATH",
                                        "SHELL",
                                        "HOME",
                                        "SSH_AUTH_SOCK",
                                        "TELEPORT_SESSION",
                                        "SSH_TELEPORT_USER",
                                        "",
                                        "A=B",
                                        "A B",
                                        "1A",
                                        "LC_\n",
                                        "PYTHONPATH",
                                        "PERL5LIB",
                                        "PROMPT_COMMAND",
                                        "GCONV_PATH",
                                        "BASH_FUNC_x%%"};
    for (size_t i = 0; i < sizeof(ALWAYS) / sizeof(ALWAYS[0]); i++) {
        assert_true(environment_allows(ALWAYS[i], false));
    }
    for (size_t i = 0; i < sizeof(NEVER) / sizeof(NEVER[0]); i++) {
        assert_false(environment_allows(NEVER[i], false));
        assert_false(environment_allows(NEVER[i], true));
    }
    assert_false(environment_allows("MY_SETTING", false));
    assert_true(environment_allows("MY_SETTING", true));
}

static void test_environment_sets_and_replaces(void **state)
{
    (void)state;
    struct environment env = {0};
    assert_null(environment_list(&env)[0]);
    environment_set(&env, "A", "1");
    environment_set(&env, "AB", "2");
    environment_set(&env, "A", "3");
    environment_set(&env, "C", NULL);
    assert_string_equal(environment_get(&env, "A"), "3");
    assert_null(environment_get(&env, "C"));
    assert_string_equal(environment_list(&env)[1], "AB=2");
    assert_null(environment_list(&env)[2]);
    environment_free(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_r2_unknown_names_have_no_row),
        cmocka_unit_test(test_r2_each_row_needs_its_verb),
        cmocka_unit_test(test_r2_file_copy_by_form),
        cmocka_unit_test(test_r7_calls_outside_their_state_or_kind_end_the_connection),
        cmocka_unit_test(test_r7_calls_past_their_number_end_the_connection),
        cmocka_unit_test(test_r12_environment_allow_list),
        cmocka_unit_test(test_environment_sets_and_replaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
