/* Rules for passwords, argon2id, and one-time codes against RFC 6238. */
#include "base/enc.h"
#include "base/mem.h"
#include "crypt/password.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_password_rules(void **state)
{
    static const struct {
        const char *password;
        const char *user;
        enum tp_err code;
    } cases[] = {
        {"a quiet yellow mill", "alice", TP_OK},
        {"elevenchars", "alice", TP_INVALID},
        {"twelvechars!", "alice", TP_OK},
        {"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc", "alice", TP_INVALID}, /* 12 bytes, 6 characters */
        {"\xec\x95\x88\xeb\x85\x95 \xed\x95\x98\xec\x84\xb8\xec\x9a\x94 \xeb\xaf\xbc\xec\x88\x98 \xec\x94\xa8", "alice",
         TP_INVALID},
        {"\xec\x95\x88\xeb\x85\x95 \xed\x95\x98\xec\x84\xb8\xec\x9a\x94 \xeb\xaf\xbc\xec\x88\x98\xec\x94\xa8!?",
         "alice", TP_OK},
        {"bad utf8 \xff\xfe here", "alice", TP_INVALID},
        {"overlong \xc0\xaf slash", "alice", TP_INVALID},
        {"surrogate \xed\xa0\x80 here", "alice", TP_INVALID},
        {"cut at the end \xe2\x82", "alice", TP_INVALID},
        {"with\ttabulator", "alice", TP_INVALID},
        {"with \x7f delete", "alice", TP_INVALID},
        {"with \xc2\x85 next line", "alice", TP_INVALID},
        {"Password1234", "alice", TP_INVALID},
        {"qwertyuiop123", "alice", TP_INVALID},
        {"aaaaaaaaaaaaaaaa", "alice", TP_INVALID},
        {"abcdefghijklmnopq", "alice", TP_INVALID},
        {"bernadette.ruiz", "bernadette.ruiz", TP_INVALID},
        {"Bernadette.Ruiz2026!", "bernadette.ruiz", TP_INVALID},
        {"alicealicealice", "alice", TP_INVALID},
        {"alice in wonderland", "alice", TP_OK},
        {"no user at all given", NULL, TP_OK},
    };
    char *large = mem_alloc(PASSWORD_MAX + 2);
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tp_error error = {0};
        if (password_acceptable(cases[i].password, cases[i].user, &error) != cases[i].code)
            fail_msg("case %zu: \"%s\" (%s)", i, cases[i].password, error.text);
        assert_true(cases[i].code == TP_OK || error.text[0] != '\0');
    }
    for (size_t i = 0; i < PASSWORD_MAX + 1; i++)
        large[i] = (char)('a' + i * 7 % 26);
    assert_int_equal(password_acceptable(large, "alice", NULL), TP_INVALID);
    large[PASSWORD_MAX] = '\0';
    assert_int_equal(password_acceptable(large, "alice", NULL), TP_OK);
    mem_free(large);
}

static void test_R14_password_hash(void **state)
{
    char *a = NULL, *b = NULL;
    (void)state;
    assert_int_equal(password_hash("a quiet yellow mill", &a), TP_OK);
    assert_int_equal(password_hash("a quiet yellow mill", &b), TP_OK);
    assert_string_not_equal(a, b);
    assert_int_equal(strncmp(a, "$argon2id$v=19$m=19456,t=2,p=1$", 31), 0);
    assert_true(password_verify("a quiet yellow mill", a));
    assert_false(password_verify("a quiet yellow mil", a));
    assert_false(password_verify("", a));
    assert_false(password_verify("a quiet yellow mill", NULL));
    assert_false(password_verify("a quiet yellow mill", "$argon2id$broken"));
    assert_false(password_verify("a quiet yellow mill", ""));
    mem_free(a);
    mem_free(b);
}

/* RFC 6238 appendix B, SHA-1 rows, the last six digits. */
static void test_rfc6238_vectors(void **state)
{
    static const struct {
        int64_t now;
        const char *code;
    } rows[] = {{59, "287082"},         {1111111109, "081804"}, {1111111111, "050471"},
                {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}};
    char *secret = enc_base32("12345678901234567890", 20);
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t step = 0;
        for (int skew = -30; skew <= 30; skew += 30) {
            assert_int_equal(totp_check(secret, rows[i].code, rows[i].now + skew, &step), TP_OK);
            assert_int_equal(step, rows[i].now / 30);
        }
        assert_int_equal(totp_check(secret, rows[i].code, rows[i].now + 60, &step), TP_DENIED);
        assert_int_equal(totp_check(secret, rows[i].code, rows[i].now + 3000, &step), TP_DENIED);
    }
    secret_free(secret);
}

static void test_totp_bad_input(void **state)
{
    static const char *const codes[] = {"", "28708", "2870820", "28708a", " 287082", "287082 ", "+87082", "-87082"};
    char *secret = enc_base32("12345678901234567890", 20), *fresh = totp_new_secret(), *uri;
    int64_t step = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        assert_int_equal(totp_check(secret, codes[i], 59, &step), TP_DENIED);
    assert_int_equal(totp_check("not base32!", "287082", 59, &step), TP_INVALID);
    assert_int_equal(totp_check("", "287082", 59, &step), TP_INVALID);
    assert_int_equal(strlen(fresh), 32);
    uri = totp_uri("ABC", "my cluster", "al:ice@x");
    assert_string_equal(
        uri, "otpauth://totp/my%20cluster:al%3Aice%40x?secret=ABC&issuer=my%20cluster&algorithm=SHA1&digits=6&"
             "period=30");
    secret_free(uri);
    secret_free(fresh);
    secret_free(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_password_rules),
        cmocka_unit_test(test_R14_password_hash),
        cmocka_unit_test(test_rfc6238_vectors),
        cmocka_unit_test(test_totp_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
