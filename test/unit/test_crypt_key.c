/* Keys, randomness, hashes, identities, grants. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/wire.h"
#include "crypt/grant.h"
#include "crypt/identity.h"
#include "crypt/key.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_pem_round_trip(void **state)
{
    (void)state;
    for (int type = KEY_P256; type <= KEY_ED25519; type++) {
        struct key *key = key_generate((enum key_type)type), *again = NULL;
        struct tp_error error = {0};
        char *pem = key_to_pem(key), *public_a = key_public_pem(key), *public_b;
        assert_int_equal(key_from_pem(pem, strlen(pem), &again, &error), TP_OK);
        assert_int_equal(key_type_of(again), type);
        public_b = key_public_pem(again);
        assert_string_equal(public_a, public_b);
        mem_free(public_a);
        mem_free(public_b);
        secret_free(pem);
        key_free(again);
        key_free(key);
    }
}

static void test_bad_pem_is_refused(void **state)
{
    static const char *const texts[] = {"", "x", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
                                        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                                        /* P-384: not in the list of exact key types */
                                        "-----BEGIN PRIVATE KEY-----\n"
                                        "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDCkUbrnO7mOOgMzU8BY\n"
                                        "-----END PRIVATE KEY-----\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct key *key = NULL;
        struct tp_error error = {0};
        assert_int_equal(key_from_pem(texts[i], strlen(texts[i]), &key, &error), TP_INVALID);
        assert_null(key);
    }
}

static void test_ed25519_signatures(void **state)
{
    struct key *key = key_generate(KEY_ED25519), *p256 = key_generate(KEY_P256);
    uint8_t signature[64], public_key[32];
    (void)state;
    assert_int_equal(key_ed25519_public(key, public_key), TP_OK);
    assert_int_equal(key_sign_ed25519(key, "text", 4, signature), TP_OK);
    assert_true(key_verify_ed25519(public_key, "text", 4, signature));
    assert_false(key_verify_ed25519(public_key, "texu", 4, signature));
    signature[3] ^= 1;
    assert_false(key_verify_ed25519(public_key, "text", 4, signature));
    assert_int_equal(key_sign_ed25519(p256, "text", 4, signature), TP_INVALID);
    assert_int_equal(key_ed25519_public(p256, public_key), TP_INVALID);
    key_free(key);
    key_free(p256);
}

static void test_random_and_hashes(void **state)
{
    char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];
    char *token = crypt_random_hex(16);
    uint8_t once[32], parts[32], mac[32];
    static const uint8_t rfc4231[4] = {0x5b, 0xdc, 0xc1, 0x46}; /* case 2 */
    struct crypt_sha256_stream *stream = crypt_sha256_new();
    (void)state;
    assert_int_equal(strlen(token), 32);
    secret_free(token);
    crypt_uuid(a);
    crypt_uuid(b);
    assert_string_not_equal(a, b);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    crypt_sha256("abc", 3, once);
    assert_int_equal(once[0], 0xba);
    assert_int_equal(once[1], 0x78);
    crypt_sha256_add(stream, "a", 1);
    crypt_sha256_add(stream, "bc", 2);
    crypt_sha256_finish(stream, parts);
    assert_memory_equal(once, parts, 32);
    crypt_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
    assert_memory_equal(mac, rfc4231, 4);
}

static enum tp_err read_identity(const char *text, struct identity *identity)
{
    json_t *json = NULL;
    struct tp_error error = {0};
    enum tp_err code;
    assert_int_equal(json_parse_object(text, strlen(text), 4096, &json, &error), TP_OK);
    identity_init(identity);
    code = identity_from_json(json, identity, &error);
    json_decref(json);
    return code;
}

static void test_R6_identity_is_read_strictly(void **state)
{
    static const char *const good[] = {
        "{\"v\":1,\"kind\":\"user\",\"cluster\":\"c\",\"name\":\"alice\",\"roles\":[\"a\"],\"traits\":{\"logins\":["
        "\"root\"]},"
        "\"logins\":[\"root\"],\"login_ip\":\"10.0.0.1\"}",
        "{\"v\":1,\"kind\":\"host\",\"cluster\":\"c\",\"name\":\"n1\",\"host_id\":\"id\",\"host_role\":\"node\"}"};
    static const char *const bad[] = {
        "{}",
        "{\"v\":2,\"kind\":\"host\",\"cluster\":\"c\",\"name\":\"n1\",\"host_id\":\"id\",\"host_role\":\"node\"}",
        "{\"v\":1,\"kind\":\"root\",\"cluster\":\"c\",\"name\":\"n1\",\"host_id\":\"id\",\"host_role\":\"node\"}",
        "{\"v\":1,\"kind\":\"host\",\"cluster\":\"c\",\"name\":\"n1\",\"host_id\":\"id\",\"host_role\":\"auth\"}",
        "{\"v\":1,\"kind\":\"host\",\"cluster\":\"c\",\"name\":\"\",\"host_id\":\"id\",\"host_role\":\"node\"}",
        "{\"v\":1,\"kind\":\"host\",\"cluster\":\"c\",\"name\":\"n1\",\"host_id\":7,\"host_role\":\"node\"}",
        "{\"v\":1,\"kind\":\"user\",\"cluster\":\"c\",\"name\":\"a\",\"roles\":\"a\",\"traits\":{},\"logins\":[]}",
        "{\"v\":1,\"kind\":\"user\",\"cluster\":\"c\",\"name\":\"a\",\"roles\":[1],\"traits\":{},\"logins\":[]}",
        "{\"v\":1,\"kind\":\"user\",\"cluster\":\"c\",\"name\":\"a\",\"roles\":[],\"traits\":{\"x\":\"y\"},\"logins\":["
        "]}",
        "{\"v\":1,\"kind\":\"user\",\"cluster\":\"c\",\"name\":\"a\",\"roles\":[],\"traits\":{}}",
        "{\"v\":1,\"kind\":\"user\",\"cluster\":\"c\",\"name\":\"a\",\"roles\":[],\"traits\":{},\"logins\":[],\"pinned_"
        "ip\":\"\"}",
        "{\"v\":1,\"kind\":\"user\",\"cluster\":\"c\",\"name\":\"a\",\"roles\":[],\"traits\":{},\"logins\":[],\"only_"
        "on\":\"x\"}",
        "{\"v\":1,\"kind\":\"user\",\"cluster\":\"c\",\"name\":\"a\",\"roles\":[],\"traits\":{},\"logins\":[],\"host_"
        "id\":\"x\"}"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct identity identity;
        json_t *json;
        char *text;
        assert_int_equal(read_identity(good[i], &identity), TP_OK);
        json = identity_to_json(&identity);
        text = json_text(json);
        assert_string_equal(text, good[i]);
        mem_free(text);
        json_decref(json);
        identity_free(&identity);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct identity identity;
        if (read_identity(bad[i], &identity) != TP_INVALID)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void make_grant(const struct key *key, const char *text, struct buf *out)
{
    json_t *grant = NULL;
    struct tp_error error = {0};
    assert_int_equal(json_parse_object(text, strlen(text), 4096, &grant, &error), TP_OK);
    assert_int_equal(grant_sign(key, grant, out), TP_OK);
    json_decref(grant);
}

#define NOW ((int64_t)1790000000) /* 2026-09-21T14:13:20Z */
#define GRANT(v, host, service, expires)                                                                      \
    "{\"v\":" v ",\"host_id\":\"" host "\",\"service\":\"" service "\",\"expires\":\"" expires "\",\"user\":" \
    "\"alice\"}"

static void test_R4_grant_is_bound_to_host_service_and_time(void **state)
{
    static const struct {
        const char *text;
        enum tp_err code;
    } cases[] = {
        {GRANT("1", "h1", "ssh", "2026-09-21T14:13:21Z"), TP_OK},
        {GRANT("1", "h1", "ssh", "2026-09-21T14:13:20Z"), TP_DENIED},
        {GRANT("1", "h2", "ssh", "2026-09-21T14:14:20Z"), TP_DENIED},
        {GRANT("1", "h1", "kube", "2026-09-21T14:14:20Z"), TP_DENIED},
        {GRANT("2", "h1", "ssh", "2026-09-21T14:14:20Z"), TP_DENIED},
        {GRANT("1", "h1", "ssh", "tomorrow"), TP_DENIED},
        {"{\"v\":1,\"host_id\":\"h1\",\"service\":\"ssh\"}", TP_DENIED},
        {"{}", TP_DENIED},
    };
    struct key *key = key_generate(KEY_ED25519);
    uint8_t keys[2][32] = {{0}};
    (void)state;
    assert_int_equal(key_ed25519_public(key, keys[1]), TP_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;
        json_t *grant = NULL;
        struct tp_error error = {0};
        buf_init(&out, 0);
        make_grant(key, cases[i].text, &out);
        assert_int_equal(
            grant_open(buf_head(&out), buf_size(&out), (const uint8_t(*)[32])keys, 2, "h1", "ssh", NOW, &grant, &error),
            cases[i].code);
        if (grant)
            assert_string_equal(json_get_text(grant, "user", ""), "alice");
        json_decref(grant);
        buf_free(&out);
    }
    key_free(key);
}

static void test_R6_grant_of_another_signer_or_changed(void **state)
{
    struct key *key = key_generate(KEY_ED25519), *other = key_generate(KEY_ED25519), *p256 = key_generate(KEY_P256);
    uint8_t keys[1][32];
    struct buf out;
    json_t *grant = NULL;
    (void)state;
    buf_init(&out, 0);
    make_grant(key, GRANT("1", "h1", "ssh", "2026-09-21T14:14:20Z"), &out);
    assert_int_equal(key_ed25519_public(key, keys[0]), TP_OK);
    for (size_t i = 0; i < buf_size(&out); i++) {
        uint8_t *copy = mem_dup(buf_head(&out), buf_size(&out));
        copy[i] ^= 0x20;
        assert_int_equal(
            grant_open(copy, buf_size(&out), (const uint8_t(*)[32])keys, 1, "h1", "ssh", NOW, &grant, NULL), TP_DENIED);
        assert_int_equal(grant_open(buf_head(&out), i, (const uint8_t(*)[32])keys, 1, "h1", "ssh", NOW, &grant, NULL),
                         TP_DENIED);
        mem_free(copy);
    }
    assert_int_equal(key_ed25519_public(other, keys[0]), TP_OK);
    assert_int_equal(
        grant_open(buf_head(&out), buf_size(&out), (const uint8_t(*)[32])keys, 1, "h1", "ssh", NOW, &grant, NULL),
        TP_DENIED);
    assert_int_equal(grant_open(buf_head(&out), buf_size(&out), NULL, 0, "h1", "ssh", NOW, &grant, NULL), TP_DENIED);
    {
        json_t *empty = json_object();
        assert_int_equal(grant_sign(p256, empty, &out), TP_INVALID);
        json_decref(empty);
    }
    buf_free(&out);
    key_free(key);
    key_free(other);
    key_free(p256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pem_round_trip),
        cmocka_unit_test(test_bad_pem_is_refused),
        cmocka_unit_test(test_ed25519_signatures),
        cmocka_unit_test(test_random_and_hashes),
        cmocka_unit_test(test_R6_identity_is_read_strictly),
        cmocka_unit_test(test_R4_grant_is_bound_to_host_service_and_time),
        cmocka_unit_test(test_R6_grant_of_another_signer_or_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
