/*
 * Whom a host trusts, when a worker lies: what it passes on of auth is signed, and what it makes up changes nothing. A host whose
 * agent believed it would take grants, and so shells as root, from a process that is not trusted with decisions.
 */
#include "agent/agent_state.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/mem.h"
#include "crypt/sshcert.h"
#include "crypt/statement.h"
#include "crypt/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* cmocka wants the headers above. */
#include <cmocka.h>

#define CLUSTER "test.example"
#define HOST_ID "0a0a0a0a-0b0b-4c0c-8d0d-0e0e0e0e0e0e"

/* A cluster's keys: ours, or those of somebody who would like to be it. */
struct cluster {
    struct key *tls_ca, *ssh_ca, *grant;
    char *ca_pem;
};

struct world {
    struct cluster ours, theirs;
    struct key *tls, *ssh;
    struct agent_state state;
};

static struct cluster cluster_make(void)
{
    struct cluster cluster = {
        .tls_ca = key_generate(KEY_P256), .ssh_ca = key_generate(KEY_ED25519), .grant = key_generate(KEY_ED25519)};
    cluster.ca_pem = x509_make_ca(cluster.tls_ca, CLUSTER, "host", clock_wall());
    return cluster;
}

static void cluster_free(struct cluster *cluster)
{
    key_free(cluster->tls_ca);
    key_free(cluster->ssh_ca);
    key_free(cluster->grant);
    mem_free(cluster->ca_pem);
}

/* What cluster.cas says of these, the second one (or NULL) being on its way in. */
static json_t *cas_of(const struct cluster *one, const struct cluster *fresh)
{
    json_t *lines = json_array();
    json_t *certs = json_array();
    json_t *grants = json_array();
    const struct cluster *all[] = {one, fresh};
    for (size_t i = 0; i < 2 && all[i] != NULL; i++) {
        uint8_t raw[32];
        char *line = key_public_ssh(all[i]->ssh_ca, NULL);
        char *cert = enc_base64(all[i]->ca_pem, strlen(all[i]->ca_pem));
        assert_int_equal(key_ed25519_public(all[i]->grant, raw), TP_OK);
        char *grant = enc_base64(raw, sizeof(raw));
        json_array_append_new(lines, json_string(line));
        json_array_append_new(certs, json_string(cert));
        json_array_append_new(grants, json_string(grant));
        mem_free(line);
        mem_free(cert);
        mem_free(grant);
    }
    return json_pack("{s:[{s:s, s:O, s:o}], s:[s], s:o, s:o}", "host_signers", "domain_name", CLUSTER, "checking_keys",
                     lines, "tls_certs", certs, "user_ca_tls", "unused", "user_ca_ssh", lines, "grant_keys", grants);
}

static json_t *signed_cas(const struct cluster *one, const struct cluster *fresh, const struct cluster *signer,
                          const char *cluster, int64_t now)
{
    json_t *answer = cas_of(one, fresh);
    const struct key *keys[] = {signer->ssh_ca};
    assert_int_equal(statement_sign(answer, cluster, keys, 1, now), TP_OK);
    return answer;
}

/* Puts certificates of this cluster for these keys into the answer. */
static void add_certs(json_t *answer, const struct cluster *cluster, const struct key *tls, const struct key *ssh)
{
    struct identity identity;
    struct tp_error error = {0};
    identity_init(&identity);
    identity.kind = IDENTITY_HOST;
    identity.cluster = mem_strdup(CLUSTER);
    identity.name = mem_strdup("node-1");
    identity.host_id = mem_strdup(HOST_ID);
    identity.host_role = mem_strdup("node");
    identity.not_before = clock_wall() - 60;
    identity.not_after = clock_wall() + 3600;
    char *tls_public = key_public_pem(tls);
    char *ssh_public = key_public_ssh(ssh, NULL);
    char *pem = NULL;
    char *line = NULL;
    struct x509_options x509 = {.public_pem = tls_public, .identity = &identity, .client = true, .server = true};
    const char *principals[] = {HOST_ID, NULL};
    struct sshcert_options options = {.public_line = ssh_public,
                                      .host = true,
                                      .key_id = HOST_ID,
                                      .principals = principals,
                                      .valid_after = identity.not_before,
                                      .valid_before = identity.not_after};
    assert_int_equal(x509_make(cluster->tls_ca, cluster->ca_pem, &x509, &pem, &error), TP_OK);
    assert_int_equal(sshcert_make(cluster->ssh_ca, &options, &line, &error), TP_OK);
    (void)json_object_set_new(answer, "tls_cert", json_string(pem));
    (void)json_object_set_new(answer, "ssh_cert", json_string(line));
    identity_free(&identity);
    mem_free(tls_public);
    mem_free(ssh_public);
    mem_free(pem);
    mem_free(line);
}

static int setup(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));
    struct tp_error error = {0};
    world->ours = cluster_make();
    world->theirs = cluster_make();
    world->tls = key_generate(KEY_P256);
    world->ssh = key_generate(KEY_ED25519);
    json_t *answer = cas_of(&world->ours, NULL);
    add_certs(answer, &world->ours, world->tls, world->ssh);
    char *tls = key_to_pem(world->tls);
    char *ssh = key_to_openssh(world->ssh, "node-1");
    char *line = key_public_ssh(world->ssh, NULL);
    assert_int_equal(agent_state_make(HOST_ID, tls, ssh, line, answer, &world->state, &error), TP_OK);
    json_decref(answer);
    secret_free(tls);
    secret_free(ssh);
    mem_free(line);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    agent_state_free(&world->state);
    cluster_free(&world->ours);
    cluster_free(&world->theirs);
    key_free(world->tls);
    key_free(world->ssh);
    mem_free(world);
    return 0;
}

/* The answer (stolen) is taken for what it says: TP_OK and changed, or refused and nothing is different. */
static void take(struct world *world, json_t *answer, enum tp_err want, bool want_changed)
{
    struct tp_error error = {0};
    bool changed = false;
    json_t *before = json_incref(world->state.cas);
    uint8_t grant[32];
    memcpy(grant, world->state.grant_keys[0], sizeof(grant));
    enum tp_err err = agent_state_set_cas(&world->state, answer, &changed, &error);
    if (err != want) {
        fail_msg("%s instead of %s: %s", err_name(err), err_name(want), error.text);
    }
    assert_int_equal(changed, want_changed);
    if (!want_changed) {
        assert_ptr_equal(world->state.cas, before);
        assert_memory_equal(world->state.grant_keys[0], grant, sizeof(grant));
    }
    json_decref(before);
    json_decref(answer);
}

static void r15_a_worker_names_no_cas_of_its_own(void **state)
{
    struct world *world = *state;
    int64_t now = clock_wall();
    take(world, cas_of(&world->theirs, NULL), TP_DENIED, false);
    take(world, cas_of(&world->ours, &world->theirs), TP_DENIED, false);
    take(world, signed_cas(&world->theirs, NULL, &world->theirs, CLUSTER, now), TP_DENIED, false);
    take(world, signed_cas(&world->ours, &world->theirs, &world->theirs, CLUSTER, now), TP_DENIED, false);
    /* A true word, and beside it what it does not say. */
    json_t *mixed = signed_cas(&world->ours, NULL, &world->ours, CLUSTER, now);
    json_t *forged = cas_of(&world->theirs, NULL);
    (void)json_object_update(mixed, forged);
    json_decref(forged);
    take(world, mixed, TP_OK, false);
    /* A true word with another's signature, or none. */
    json_t *stripped = signed_cas(&world->ours, &world->theirs, &world->ours, CLUSTER, now);
    (void)json_object_set_new(stripped, "signatures", json_array());
    take(world, stripped, TP_DENIED, false);
    /* Of another cluster under the same CA, or one that was true once. */
    take(world, signed_cas(&world->ours, &world->theirs, &world->ours, "other.example", now), TP_DENIED, false);
    take(world, signed_cas(&world->ours, &world->theirs, &world->ours, CLUSTER, now - STATEMENT_SECONDS - 5), TP_DENIED,
         false);
    /* Or one of when auth's clock was ahead: a worker could keep it for that day. */
    take(world, signed_cas(&world->ours, &world->theirs, &world->ours, CLUSTER, now + STATEMENT_SECONDS + 5), TP_DENIED,
         false);
    take(world, signed_cas(&world->ours, NULL, &world->ours, CLUSTER, now + STATEMENT_SECONDS - 5), TP_OK, false);
}

static void a_signed_word_changes_whom_to_trust(void **state)
{
    struct world *world = *state;
    int64_t now = clock_wall();
    take(world, cas_of(&world->ours, NULL), TP_OK, false); /* an auth of before signs nothing, and says nothing new */
    take(world, signed_cas(&world->ours, &world->theirs, &world->ours, CLUSTER, now), TP_OK, true);
    assert_int_equal(world->state.grant_key_count, 2);
    /* And those who came in may speak from then on: the other half of a rotation. */
    take(world, signed_cas(&world->theirs, NULL, &world->theirs, CLUSTER, now), TP_OK, true);
    take(world, signed_cas(&world->ours, NULL, &world->ours, CLUSTER, now), TP_DENIED, false);
}

static void each_changed_byte_of_a_statement_is_refused(void **state)
{
    struct world *world = *state;
    struct tp_error error = {0};
    char *line = key_public_ssh(world->ours.ssh_ca, NULL);
    const char *lines[] = {"ssh-rsa AAAA", line, NULL};
    json_t *said = NULL;
    json_t *answer = json_pack("{s:s}", "grant_keys", "x");
    const struct key *keys[] = {world->ours.ssh_ca};
    int64_t now = clock_wall();
    assert_int_equal(statement_sign(answer, CLUSTER, keys, 1, now), TP_OK);
    assert_int_equal(statement_open(answer, lines, CLUSTER, now, &said, &error), TP_OK);
    json_decref(said);
    assert_int_equal(statement_open(answer, lines + 2, CLUSTER, now, &said, &error), TP_DENIED);
    json_t *signature = json_array_get(json_object_get(answer, "signatures"), 0);
    const char *members[] = {json_get_text(answer, "statement", ""), json_string_value(signature)};
    for (size_t m = 0; m < 2; m++) {
        struct buf raw;
        buf_init(&raw, 65536);
        assert_int_equal(dec_base64(members[m], strlen(members[m]), &raw), TP_OK);
        for (size_t i = 0; i < buf_size(&raw); i++) {
            uint8_t *bytes = (uint8_t *)(uintptr_t)buf_head(&raw);
            bytes[i] ^= 1;
            char *text = enc_base64(bytes, buf_size(&raw));
            json_t *changed = json_deep_copy(answer);
            if (m == 0) {
                (void)json_object_set_new(changed, "statement", json_string(text));
            } else {
                (void)json_object_set_new(changed, "signatures", json_pack("[s]", text));
            }
            assert_int_equal(statement_open(changed, lines, CLUSTER, now, &said, &error), TP_DENIED);
            json_decref(changed);
            mem_free(text);
            bytes[i] ^= 1;
        }
        buf_free(&raw);
    }
    json_decref(answer);
    mem_free(line);
}

/* The answer (stolen) to host.renew. */
static void renew(struct world *world, json_t *answer, enum tp_err want)
{
    struct tp_error error = {0};
    struct agent_state fresh;
    enum tp_err err = agent_state_renew(&world->state, answer, &fresh, &error);
    if (err != want) {
        fail_msg("%s instead of %s: %s", err_name(err), err_name(want), error.text);
    }
    if (err == TP_OK) {
        assert_string_equal(fresh.host_id, HOST_ID);
        assert_true(json_equal(fresh.cas, world->state.cas));
        agent_state_free(&fresh);
    }
    json_decref(answer);
}

static void r15_a_worker_gives_no_certificates_of_its_own(void **state)
{
    struct world *world = *state;
    int64_t now = clock_wall();
    struct key *tls = key_generate(KEY_P256);
    struct key *ssh = key_generate(KEY_ED25519);
    json_t *answer = signed_cas(&world->ours, NULL, &world->ours, CLUSTER, now);
    add_certs(answer, &world->ours, world->tls, world->ssh);
    renew(world, answer, TP_OK);
    answer = cas_of(&world->ours, NULL);
    add_certs(answer, &world->ours, world->tls, world->ssh);
    renew(world, answer, TP_OK); /* an auth of before */
    answer = cas_of(&world->theirs, NULL);
    add_certs(answer, &world->theirs, world->tls, world->ssh);
    renew(world, answer, TP_DENIED);
    answer = signed_cas(&world->ours, NULL, &world->ours, CLUSTER, now);
    add_certs(answer, &world->theirs, world->tls, world->ssh);
    renew(world, answer, TP_DENIED);
    answer = signed_cas(&world->ours, NULL, &world->ours, CLUSTER, now);
    add_certs(answer, &world->ours, tls, world->ssh);
    renew(world, answer, TP_DENIED);
    answer = signed_cas(&world->ours, NULL, &world->ours, CLUSTER, now);
    add_certs(answer, &world->ours, world->tls, ssh);
    renew(world, answer, TP_DENIED);
    key_free(tls);
    key_free(ssh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(r15_a_worker_names_no_cas_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signed_word_changes_whom_to_trust, setup, teardown),
        cmocka_unit_test_setup_teardown(each_changed_byte_of_a_statement_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(r15_a_worker_gives_no_certificates_of_its_own, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
