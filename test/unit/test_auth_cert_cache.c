/* What is remembered of a checked certificate is no way round time, another CA, or a changed byte. */
#include "auth/cert_cache.h"
#include "base/enc.h"
#include "base/mem.h"
#include "crypt/x509.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW ((int64_t)1790000000)
#define CLUSTER "example.com"

struct world {
    struct key *ca, *other, *subject;
    char *ca_pem, *other_pem, *subject_pem;
    char *cert;          /* base64, valid from NOW - 60 to NOW + 200 */
    const char *host_id; /* whose certificates sign() makes; NULL: people's */
    struct cert_cache *cache;
    struct tp_error error;
};

static char *sign(struct world *w, const char *name, int64_t not_after)
{
    struct identity identity;
    struct buf der;
    char *pem, *text;
    identity_init(&identity);
    identity.cluster = mem_strdup(CLUSTER);
    identity.name = mem_strdup(name);
    if (w->host_id == NULL) {
        identity.roles = json_pack("[s]", "access");
        identity.traits = json_object();
        identity.logins = json_pack("[s]", "root");
    } else {
        identity.kind = IDENTITY_HOST;
        identity.host_id = mem_strdup(w->host_id);
        identity.host_role = mem_strdup("node");
    }
    identity.not_before = NOW - 60;
    identity.not_after = not_after;
    struct x509_options options = {.public_pem = w->subject_pem, .identity = &identity, .client = true};
    assert_int_equal(x509_make(w->ca, w->ca_pem, &options, &pem, &w->error), TP_OK);
    buf_init(&der, 65536);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &w->error), TP_OK);
    text = enc_base64(buf_head(&der), buf_size(&der));
    buf_free(&der);
    mem_free(pem);
    identity_free(&identity);
    return text;
}

static int begin(void **state)
{
    struct world *w = mem_alloc(sizeof *w);
    w->ca = key_generate(KEY_P256);
    w->other = key_generate(KEY_P256);
    w->subject = key_generate(KEY_P256);
    w->ca_pem = x509_make_ca(w->ca, CLUSTER, "user", NOW - 3600);
    w->other_pem = x509_make_ca(w->other, CLUSTER, "user", NOW - 3600);
    w->subject_pem = key_public_pem(w->subject);
    w->cert = sign(w, "alice", NOW + 200);
    w->cache = cert_cache_new();
    *state = w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;
    cert_cache_free(w->cache);
    key_free(w->ca);
    key_free(w->other);
    key_free(w->subject);
    mem_free(w->ca_pem);
    mem_free(w->other_pem);
    mem_free(w->subject_pem);
    mem_free(w->cert);
    mem_free(w);
    return 0;
}

static enum tp_err check(struct world *w, const char *cert, const char *ca_pem, int64_t now)
{
    const struct identity *identity = NULL;
    enum tp_err err = cert_cache_check(w->cache, cert, ca_pem, now, &identity, &w->error);
    if (err == TP_OK) {
        assert_string_equal(identity->cluster, CLUSTER);
    }
    return err;
}

static void test_the_answer_is_kept(void **state)
{
    struct world *w = *state;
    const struct identity *first = NULL, *second = NULL, *third = NULL;
    assert_int_equal(cert_cache_check(w->cache, w->cert, w->ca_pem, NOW, &first, &w->error), TP_OK);
    assert_string_equal(first->name, "alice");
    assert_int_equal(cert_cache_check(w->cache, w->cert, w->ca_pem, NOW + 1, &second, &w->error), TP_OK);
    assert_ptr_equal(first, second);
    char *bob = sign(w, "bob", NOW + 200);
    assert_int_equal(cert_cache_check(w->cache, bob, w->ca_pem, NOW + 1, &third, &w->error), TP_OK);
    assert_string_equal(third->name, "bob");
    mem_free(bob);
}

static void test_time_is_looked_at_every_time(void **state)
{
    struct world *w = *state;
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW), TP_OK);
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW + 200), TP_OK);
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW + 201), TP_EXPIRED);
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW - 61), TP_EXPIRED);
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW), TP_OK);
}

static void test_a_ca_that_is_trusted_no_more(void **state)
{
    struct world *w = *state;
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW), TP_OK);
    assert_int_equal(check(w, w->cert, w->other_pem, NOW), TP_DENIED);
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW), TP_OK);
}

static void test_every_changed_letter_is_refused(void **state)
{
    struct world *w = *state;
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW), TP_OK);
    for (size_t i = 0; w->cert[i] != '\0' && w->cert[i] != '='; i++) {
        char old = w->cert[i];
        w->cert[i] = old == 'A' ? 'B' : 'A';
        assert_int_not_equal(check(w, w->cert, w->ca_pem, NOW), TP_OK);
        w->cert[i] = old;
    }
    assert_int_not_equal(check(w, "", w->ca_pem, NOW), TP_OK);
}

static void test_many_certificates_are_bounded(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 1100; i++) {
        char name[32];
        snprintf(name, sizeof name, "user%d", i);
        char *cert = sign(w, name, NOW + 200);
        assert_int_equal(check(w, cert, w->ca_pem, NOW), TP_OK);
        mem_free(cert);
    }
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW), TP_OK);
}

/* Who comes once stays for five minutes, not until a thousand others have come. */
static void test_old_answers_are_swept(void **state)
{
    struct world *w = *state;
    char *bob = sign(w, "bob", NOW + 1000);
    char *carol = sign(w, "carol", NOW + 1000);
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW), TP_OK);
    assert_int_equal(check(w, bob, w->ca_pem, NOW), TP_OK);
    assert_int_equal(check(w, carol, w->ca_pem, NOW + 100), TP_OK);
    assert_int_equal(cert_cache_sweep(w->cache, NOW + 200), 3);
    assert_int_equal(cert_cache_sweep(w->cache, NOW + 201), 2); /* alice's has expired */
    assert_int_equal(cert_cache_sweep(w->cache, NOW + 300), 1);
    assert_int_equal(check(w, bob, w->ca_pem, NOW + 301), TP_OK);
    assert_int_equal(cert_cache_sweep(w->cache, NOW + 400), 1);
    mem_free(bob);
    mem_free(carol);
}

static void test_a_removed_host_is_forgotten(void **state)
{
    static const char *const ids[] = {"11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"};
    struct world *w = *state;
    assert_int_equal(check(w, w->cert, w->ca_pem, NOW), TP_OK);
    mem_free(w->ca_pem);
    w->ca_pem = x509_make_ca(w->ca, CLUSTER, "host", NOW - 3600);
    for (int i = 0; i < 2; i++) {
        w->host_id = ids[i];
        char *host = sign(w, "web", NOW + 200);
        assert_int_equal(check(w, host, w->ca_pem, NOW), TP_OK);
        mem_free(host);
    }
    assert_int_equal(cert_cache_sweep(w->cache, NOW), 3);
    for (int i = 0; i < 2; i++) { /* the second time there is nothing of it */
        cert_cache_forget_host(w->cache, ids[0]);
        assert_int_equal(cert_cache_sweep(w->cache, NOW), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_answer_is_kept, begin, end),
        cmocka_unit_test_setup_teardown(test_time_is_looked_at_every_time, begin, end),
        cmocka_unit_test_setup_teardown(test_a_ca_that_is_trusted_no_more, begin, end),
        cmocka_unit_test_setup_teardown(test_every_changed_letter_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_many_certificates_are_bounded, begin, end),
        cmocka_unit_test_setup_teardown(test_old_answers_are_swept, begin, end),
        cmocka_unit_test_setup_teardown(test_a_removed_host_is_forgotten, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
