/* X.509: what we make and what x509_check refuses (R6). The wrong certificates are put together with the TLS library. */
#include "base/enc.h"
#include "base/mem.h"
#include "crypt/x509.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW ((int64_t)1790000000)
#define CLUSTER "example.com"

static struct key *user_ca, *host_ca, *other_ca, *subject;
static char *user_ca_pem, *host_ca_pem, *other_ca_pem, *subject_pem;

static int begin(void **state)
{
    (void)state;
    user_ca = key_generate(KEY_P256);
    host_ca = key_generate(KEY_P256);
    other_ca = key_generate(KEY_P256);
    subject = key_generate(KEY_P256);
    user_ca_pem = x509_make_ca(user_ca, CLUSTER, "user", NOW - 3600);
    host_ca_pem = x509_make_ca(host_ca, CLUSTER, "host", NOW - 3600);
    other_ca_pem = x509_make_ca(other_ca, CLUSTER, "user", NOW - 3600);
    subject_pem = key_public_pem(subject);
    return 0;
}

static int end(void **state)
{
    (void)state;
    key_free(user_ca);
    key_free(host_ca);
    key_free(other_ca);
    key_free(subject);
    mem_free(user_ca_pem);
    mem_free(host_ca_pem);
    mem_free(other_ca_pem);
    mem_free(subject_pem);
    return 0;
}

static struct identity user_identity(void)
{
    struct identity identity;
    identity_init(&identity);
    identity.cluster = mem_strdup(CLUSTER);
    identity.name = mem_strdup("alice");
    identity.roles = json_pack("[ss]", "access", "editor");
    identity.traits = json_pack("{s:[s]}", "logins", "root");
    identity.logins = json_pack("[s]", "root");
    identity.not_before = NOW - 60;
    identity.not_after = NOW + 3600;
    return identity;
}

static struct identity host_identity(void)
{
    struct identity identity;
    identity_init(&identity);
    identity.kind = IDENTITY_HOST;
    identity.cluster = mem_strdup(CLUSTER);
    identity.name = mem_strdup("node1");
    identity.host_id = mem_strdup("fddd1915-aa20-4157-b1b4-c4041b89c878");
    identity.host_role = mem_strdup("node");
    identity.not_before = NOW - 60;
    identity.not_after = NOW + 3600;
    return identity;
}

static enum tp_err check_pem(const char *pem, const char *cas, int64_t now, struct identity *identity,
                             struct tp_error *error)
{
    struct buf der;
    enum tp_err code;
    buf_init(&der, 0);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, error), TP_OK);
    code = x509_check(buf_head(&der), buf_size(&der), cas, now, identity, error);
    buf_free(&der);
    return code;
}

static char *make_user(void)
{
    struct identity identity = user_identity();
    struct x509_options options = {.public_pem = subject_pem, .identity = &identity, .client = true};
    struct tp_error error = {0};
    char *pem = NULL;
    if (x509_make(user_ca, user_ca_pem, &options, &pem, &error) != TP_OK)
        fail_msg("%s", error.text);
    identity_free(&identity);
    return pem;
}

/* The device of the login stands beside the identity, whose members of before stay all that there are. */
static void test_the_device_of_the_login(void **state)
{
    struct identity identity = user_identity();
    struct x509_options options = {.public_pem = subject_pem, .identity = &identity, .client = true};
    struct tp_error error = {0};
    char *pem = NULL;
    struct identity read;
    (void)state;
    identity_init(&read);
    identity.login_device = mem_strdup("fddd1915-aa20-4157-b1b4-c4041b89c878");
    assert_int_equal(x509_make(user_ca, user_ca_pem, &options, &pem, &error), TP_OK);
    assert_int_equal(check_pem(pem, user_ca_pem, NOW, &read, &error), TP_OK);
    assert_string_equal(read.login_device, identity.login_device);
    json_t *json = identity_to_json(&read);
    assert_null(json_object_get(json, "login_device"));
    json_decref(json);
    identity_free(&read);
    mem_free(pem);
    mem_free(identity.login_device);
    identity.login_device = mem_printf("%080d", 1);
    assert_int_equal(x509_make(user_ca, user_ca_pem, &options, &pem, &error), TP_INVALID);
    identity_free(&identity);
    pem = make_user();
    assert_int_equal(check_pem(pem, user_ca_pem, NOW, &read, &error), TP_OK);
    assert_null(read.login_device);
    identity_free(&read);
    mem_free(pem);
}

static void test_user_round_trip(void **state)
{
    char *pem = make_user(), *both = mem_printf("%s%s", other_ca_pem, user_ca_pem);
    struct identity identity;
    struct tp_error error = {0};
    int64_t end_of = 0;
    (void)state;
    identity_init(&identity);
    if (check_pem(pem, both, NOW, &identity, &error) != TP_OK) /* two CAs of one name: rotation */
        fail_msg("%s", error.text);
    assert_int_equal(identity.kind, IDENTITY_USER);
    assert_string_equal(identity.name, "alice");
    assert_true(json_list_has(identity.roles, "editor"));
    assert_int_equal(identity.not_before, NOW - 60);
    assert_int_equal(identity.not_after, NOW + 3600);
    identity_free(&identity);
    assert_int_equal(x509_not_after(pem, &end_of, &error), TP_OK);
    assert_int_equal(end_of, NOW + 3600);
    mem_free(pem);
    mem_free(both);
}

static void test_host_round_trip_with_names(void **state)
{
    static const char *const names[] = {"*.node.example.com", "example.com", NULL};
    static const char *const addresses[] = {"10.0.0.1", "2001:db8::1", NULL};
    static const char *const bad_names[] = {"a b", NULL};
    static const char *const bad_addresses[] = {"10.0.0", NULL};
    struct identity identity = host_identity(), read;
    struct x509_options options = {.public_pem = subject_pem,
                                   .identity = &identity,
                                   .dns_names = names,
                                   .ip_addresses = addresses,
                                   .server = true,
                                   .client = true};
    struct tp_error error = {0};
    char *pem = NULL;
    BIO *bio;
    X509 *cert;
    (void)state;
    assert_int_equal(x509_make(host_ca, host_ca_pem, &options, &pem, &error), TP_OK);
    identity_init(&read);
    assert_int_equal(check_pem(pem, host_ca_pem, NOW, &read, &error), TP_OK);
    assert_string_equal(read.host_role, "node");
    identity_free(&read);
    bio = BIO_new_mem_buf(pem, -1);
    cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_int_equal(X509_check_host(cert, "abc.node.example.com", strlen("abc.node.example.com"), 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "node.example.org", strlen("node.example.org"), 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(cert, "10.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "2001:db8::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "10.0.0.2", 0), 0);
    X509_free(cert);
    BIO_free(bio);
    mem_free(pem);
    options.dns_names = bad_names;
    assert_int_equal(x509_make(host_ca, host_ca_pem, &options, &pem, &error), TP_INVALID);
    options.dns_names = NULL;
    options.ip_addresses = bad_addresses;
    assert_int_equal(x509_make(host_ca, host_ca_pem, &options, &pem, &error), TP_INVALID);
    identity_free(&identity);
}

static void test_R6_times(void **state)
{
    static const struct {
        int64_t now;
        enum tp_err code;
    } cases[] = {{NOW - 61, TP_EXPIRED},  {NOW - 60, TP_OK},
                 {NOW + 3600, TP_OK},     {NOW + 3601, TP_EXPIRED},
                 {NOW - 7200, TP_DENIED}, {NOW + (int64_t)20 * 365 * 86400, TP_DENIED}}; /* the CA is not valid then */
    char *pem = make_user();
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct identity identity;
        struct tp_error error = {0};
        enum tp_err code;
        identity_init(&identity);
        code = check_pem(pem, user_ca_pem, cases[i].now, &identity, &error);
        if (code != cases[i].code)
            fail_msg("case %zu: %s", i, error.text);
        identity_free(&identity);
    }
    mem_free(pem);
}

static void test_R6_user_and_host_CA_are_never_mixed(void **state)
{
    struct identity user = user_identity(), host = host_identity(), read;
    struct x509_options options = {.public_pem = subject_pem, .identity = &host, .client = true};
    struct tp_error error = {0};
    char *pem = NULL;
    (void)state;
    assert_int_equal(x509_make(user_ca, user_ca_pem, &options, &pem, &error), TP_INVALID);
    options.identity = &user;
    assert_int_equal(x509_make(host_ca, host_ca_pem, &options, &pem, &error), TP_INVALID);
    assert_int_equal(x509_make(host_ca, user_ca_pem, &options, &pem, &error),
                     TP_INVALID); /* key and certificate differ */
    mem_free(user.cluster);
    user.cluster = mem_strdup("elsewhere");
    assert_int_equal(x509_make(user_ca, user_ca_pem, &options, &pem, &error), TP_INVALID);
    pem = make_user();
    identity_init(&read);
    assert_int_equal(check_pem(pem, host_ca_pem, NOW, &read, &error), TP_DENIED);
    assert_int_equal(check_pem(pem, other_ca_pem, NOW, &read, &error), TP_DENIED);
    assert_int_equal(check_pem(pem, "", NOW, &read, &error), TP_DENIED);
    assert_int_equal(check_pem(user_ca_pem, user_ca_pem, NOW, &read, &error), TP_INVALID); /* the CA itself */
    mem_free(pem);
    identity_free(&user);
    identity_free(&host);
}

static void test_R6_subject_keys(void **state)
{
    struct key *ed25519 = key_generate(KEY_ED25519);
    char *ed25519_pem = key_public_pem(ed25519), *pem = NULL;
    const char *const keys[] = {ed25519_pem, "", "no PEM", NULL};
    struct identity identity = user_identity();
    struct tp_error error = {0};
    (void)state;
    for (size_t i = 0; keys[i]; i++) {
        struct x509_options options = {.public_pem = keys[i], .identity = &identity};
        assert_int_equal(x509_make(user_ca, user_ca_pem, &options, &pem, &error), TP_INVALID);
    }
    {
        struct x509_options options = {.public_pem = subject_pem, .identity = &identity};
        assert_int_equal(x509_make(ed25519, user_ca_pem, &options, &pem, &error), TP_INVALID);
        identity.not_after = identity.not_before;
        assert_int_equal(x509_make(user_ca, user_ca_pem, &options, &pem, &error), TP_INVALID);
    }
    identity_free(&identity);
    mem_free(ed25519_pem);
    key_free(ed25519);
}

/* Takes a good certificate apart, changes one thing and signs it again with the right CA. */
enum change {
    AS_IT_IS,
    NO_IDENTITY,
    TWO_IDENTITIES,
    CRITICAL_IDENTITY,
    UNKNOWN_CRITICAL,
    UNKNOWN_PLAIN,
    IS_CA,
    MAY_SIGN,
    NO_CONSTRAINTS,
    WRONG_CURVE,
    ED25519_KEY,
    WITH_SHA384,
    VERSION_1,
    OTHER_ISSUER,
    BROKEN_JSON,
    CHANGE_COUNT
};

static X509 *read_pem(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(cert);
    return cert;
}

static int find_ours(X509 *cert)
{
    for (int i = 0; i < X509_get_ext_count(cert); i++) {
        if (OBJ_length(X509_EXTENSION_get_object(X509_get_ext(cert, i))) == 21)
            return i;
    }
    return -1;
}

static void add_raw(X509 *cert, const char *oid, int critical, const void *data, int size)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *extension;
    assert_int_equal(ASN1_OCTET_STRING_set(value, data, size), 1);
    extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, value);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(object);
}

static void replace(X509 *cert, int nid, const char *oid, const void *data, int size)
{
    int at = X509_get_ext_by_NID(cert, nid, -1);
    assert_true(at >= 0);
    X509_EXTENSION_free(X509_delete_ext(cert, at));
    if (data)
        add_raw(cert, oid, 1, data, size);
}

static EVP_PKEY *p384_key(void)
{
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_secp384r1);
    EVP_PKEY *evp = EVP_PKEY_new();
    assert_int_equal(EC_KEY_generate_key(ec), 1);
    assert_int_equal(EVP_PKEY_assign_EC_KEY(evp, ec), 1);
    return evp;
}

static void change_it(X509 *cert, enum change change)
{
    int ours = find_ours(cert);
    X509_EXTENSION *extension = X509_get_ext(cert, ours);
    EVP_PKEY *evp;
    switch (change) {
    case NO_IDENTITY:
        X509_EXTENSION_free(X509_delete_ext(cert, ours));
        break;
    case TWO_IDENTITIES:
        assert_int_equal(X509_add_ext(cert, extension, -1), 1);
        break;
    case CRITICAL_IDENTITY:
        assert_int_equal(X509_EXTENSION_set_critical(extension, 1), 1);
        break;
    case UNKNOWN_CRITICAL:
        add_raw(cert, "1.2.3.4", 1, "\x05\x00", 2);
        break;
    case UNKNOWN_PLAIN:
        add_raw(cert, "1.2.3.4", 0, "\x05\x00", 2);
        break;
    case IS_CA:
        replace(cert, NID_basic_constraints, "2.5.29.19", "\x30\x03\x01\x01\xff", 5);
        break;
    case MAY_SIGN:
        replace(cert, NID_key_usage, "2.5.29.15", "\x03\x02\x02\x84", 4);
        break;
    case NO_CONSTRAINTS:
        replace(cert, NID_basic_constraints, NULL, NULL, 0);
        break;
    case WRONG_CURVE:
        evp = p384_key();
        assert_int_equal(X509_set_pubkey(cert, evp), 1);
        EVP_PKEY_free(evp);
        break;
    case ED25519_KEY: {
        struct key *key = key_generate(KEY_ED25519);
        assert_int_equal(X509_set_pubkey(cert, key_evp(key)), 1);
        key_free(key);
        break;
    }
    case VERSION_1:
        while (X509_get_ext_count(cert) > 0)
            X509_EXTENSION_free(X509_delete_ext(cert, 0));
        assert_int_equal(X509_set_version(cert, X509_VERSION_1), 1);
        break;
    case OTHER_ISSUER:
        assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(cert)), 1);
        break;
    case BROKEN_JSON: {
        ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
        assert_int_equal(ASN1_OCTET_STRING_set(value, (const uint8_t *)"\x0c\x02{]", 4), 1);
        assert_int_equal(X509_EXTENSION_set_data(extension, value), 1);
        ASN1_OCTET_STRING_free(value);
        break;
    }
    default:
        break;
    }
}

/* Go's X.509 (kubectl, helm) refuses a certificate with an object identifier that has a part past 28 bits. */
static void test_go_can_read_the_name_of_our_extension(void **state)
{
    (void)state;
    char *pem = make_user();
    X509 *cert = read_pem(pem);
    for (int i = 0; i < X509_get_ext_count(cert); i++) {
        const ASN1_OBJECT *object = X509_EXTENSION_get_object(X509_get_ext(cert, i));
        const uint8_t *data = OBJ_get0_data(object);
        size_t part = 0;
        for (size_t at = 0; at < OBJ_length(object); at++) {
            part++;
            assert_true(part <= 4);
            if ((data[at] & 0x80) == 0)
                part = 0;
        }
    }
    X509_free(cert);
    mem_free(pem);
}

static void test_R6_correctly_signed_but_wrong(void **state)
{
    (void)state;
    for (int change = 0; change < CHANGE_COUNT; change++) {
        char *pem = make_user();
        X509 *cert = read_pem(pem);
        uint8_t *der = NULL;
        int size;
        struct identity identity;
        struct tp_error error = {0};
        bool good = change == AS_IT_IS || change == UNKNOWN_PLAIN;
        enum tp_err code;
        change_it(cert, (enum change)change);
        assert_true(X509_sign(cert, key_evp(user_ca), change == WITH_SHA384 ? EVP_sha384() : EVP_sha256()) > 0);
        size = i2d_X509(cert, &der);
        assert_true(size > 0);
        identity_init(&identity);
        code = x509_check(der, (size_t)size, user_ca_pem, NOW, &identity, &error);
        if ((code == TP_OK) != good)
            fail_msg("change %d: %s %s", change, err_name(code), error.text);
        if (code == TP_OK)
            identity_free(&identity);
        OPENSSL_free(der);
        X509_free(cert);
        mem_free(pem);
    }
}

static void test_R6_a_leaf_signs_nobody(void **state)
{
    char *leaf_pem = make_user(), *second_pem = make_user(), *all;
    X509 *leaf = read_pem(leaf_pem), *second = read_pem(second_pem);
    uint8_t *der = NULL;
    int size;
    struct identity identity;
    struct tp_error error = {0};
    (void)state;
    assert_int_equal(X509_set_issuer_name(second, X509_get_subject_name(leaf)), 1);
    assert_true(X509_sign(second, key_evp(subject), EVP_sha256()) > 0);
    size = i2d_X509(second, &der);
    identity_init(&identity);
    assert_int_equal(x509_check(der, (size_t)size, user_ca_pem, NOW, &identity, &error), TP_DENIED);
    /* Not even when somebody put the leaf into the list of CAs. */
    all = mem_printf("%s%s", user_ca_pem, leaf_pem);
    assert_int_equal(x509_check(der, (size_t)size, all, NOW, &identity, &error), TP_DENIED);
    assert_int_equal(x509_check(der, (size_t)size, leaf_pem, NOW, &identity, &error), TP_DENIED);
    OPENSSL_free(der);
    X509_free(leaf);
    X509_free(second);
    mem_free(all);
    mem_free(leaf_pem);
    mem_free(second_pem);
}

static void test_R6_every_changed_or_missing_byte(void **state)
{
    char *pem = make_user();
    struct buf der;
    uint8_t *copy;
    struct identity identity;
    struct tp_error error = {0};
    (void)state;
    buf_init(&der, 0);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    copy = mem_dup(buf_head(&der), buf_size(&der));
    for (size_t i = 0; i < buf_size(&der); i++) {
        copy[i] ^= 1;
        assert_int_not_equal(x509_check(copy, buf_size(&der), user_ca_pem, NOW, &identity, &error), TP_OK);
        copy[i] ^= 1;
        assert_int_not_equal(x509_check(copy, i, user_ca_pem, NOW, &identity, &error), TP_OK);
    }
    assert_int_equal(buf_append(&der, "", 1), TP_OK);
    assert_int_equal(x509_check(buf_head(&der), buf_size(&der), user_ca_pem, NOW, &identity, &error), TP_INVALID);
    mem_free(copy);
    buf_free(&der);
    mem_free(pem);
}

static void test_R6_a_remembered_signature_is_no_pass(void **state)
{
    char *pem = make_user();
    struct buf der;
    uint8_t *copy;
    struct identity identity;
    struct tp_error error = {0};
    struct x509_trust *trust = x509_trust_new(user_ca_pem);
    (void)state;
    buf_init(&der, 0);
    assert_int_equal(x509_pem_to_der(pem, strlen(pem), &der, &error), TP_OK);
    copy = mem_dup(buf_head(&der), buf_size(&der));
    for (size_t i = 0; i < buf_size(&der); i++) {
        /* The good one is known, and each other one is not. */
        assert_int_equal(x509_trust_check(trust, buf_head(&der), buf_size(&der), NOW, &identity, &error), TP_OK);
        identity_free(&identity);
        copy[i] ^= 1;
        assert_int_not_equal(x509_trust_check(trust, copy, buf_size(&der), NOW, &identity, &error), TP_OK);
        copy[i] ^= 1;
    }
    /* Nor one that is looked for in its place, whose signature alone is wrong. */
    size_t size = buf_size(&der), tried = 0;
    uint8_t good_hash[SHA256_DIGEST_LENGTH], hash[SHA256_DIGEST_LENGTH];
    (void)SHA256(copy, size, good_hash);
    for (unsigned change = 1; change < 65536; change++) {
        copy[size - 1] ^= (uint8_t)change;
        copy[size - 2] ^= (uint8_t)(change >> 8);
        if (SHA256(copy, size, hash)[0] == good_hash[0]) {
            assert_int_equal(x509_trust_check(trust, copy, size, NOW, &identity, &error), TP_DENIED);
            tried++;
        }
        copy[size - 1] ^= (uint8_t)change;
        copy[size - 2] ^= (uint8_t)(change >> 8);
    }
    assert_true(tried > 100);
    assert_int_equal(x509_trust_check(trust, copy, buf_size(&der), NOW + 3601, &identity, &error), TP_EXPIRED);
    assert_int_equal(x509_trust_check(trust, copy, buf_size(&der), NOW - 61, &identity, &error), TP_EXPIRED);
    /* Its CA has ended by then. */
    assert_int_equal(x509_trust_check(trust, copy, buf_size(&der), NOW + (int64_t)11 * 366 * 86400, &identity, &error),
                     TP_DENIED);
    x509_trust_free(trust);
    /* Another CA's list knows nothing of it. */
    trust = x509_trust_new(host_ca_pem);
    assert_int_equal(x509_trust_check(trust, copy, buf_size(&der), NOW, &identity, &error), TP_DENIED);
    x509_trust_free(trust);
    mem_free(copy);
    buf_free(&der);
    mem_free(pem);
}

static void test_pin_and_lifetime(void **state)
{
    char *pin = NULL, *again = NULL, *spki = key_public_pem(user_ca), *hex;
    uint8_t hash[32];
    struct buf der;
    struct tp_error error = {0};
    struct identity identity = user_identity();
    struct x509_options options = {.public_pem = subject_pem, .identity = &identity};
    char *pem = NULL;
    int64_t ca_end = 0, leaf_end = 0;
    const char *body = strchr(spki, '\n') + 1;
    size_t length = 0;
    char base64[256];
    (void)state;
    for (const char *at = body; *at && *at != '-'; at++) {
        if (*at != '\n')
            base64[length++] = *at;
    }
    buf_init(&der, 0);
    assert_int_equal(dec_base64(base64, length, &der), TP_OK);
    crypt_sha256(buf_head(&der), buf_size(&der), hash);
    hex = enc_hex(hash, 32);
    assert_int_equal(x509_pin(user_ca_pem, &pin, &error), TP_OK);
    assert_int_equal(strncmp(pin, "sha256:", 7), 0);
    assert_string_equal(pin + 7, hex);
    assert_int_equal(x509_pin("nothing", &again, &error), TP_INVALID);
    assert_int_equal(x509_not_after(user_ca_pem, &ca_end, &error), TP_OK);
    identity.not_after = NOW + (int64_t)50 * 365 * 86400;
    assert_int_equal(x509_make(user_ca, user_ca_pem, &options, &pem, &error), TP_OK);
    assert_int_equal(x509_not_after(pem, &leaf_end, &error), TP_OK);
    assert_int_equal(leaf_end, ca_end); /* nothing outlives its CA */
    identity_free(&identity);
    mem_free(pem);
    mem_free(hex);
    mem_free(pin);
    mem_free(spki);
    buf_free(&der);
}

/* A certificate for one target says all of it, or it is none: half of it would be bound to nothing. */
static void test_R4_a_target_is_whole(void **state)
{
    static const char *const good[] = {
        "\"target_reason\":\"mfa\",\"mfa_device\":\"d\",\"target_node\":\"n\",\"base_not_after\":5",
        "\"target_reason\":\"mfa\",\"mfa_device\":\"d\",\"target_kube\":\"k\",\"base_not_after\":5",
        "\"target_reason\":\"kubeconfig\",\"target_kube\":\"k\"",
    };
    static const char *const bad[] = {
        "\"target_reason\":\"mfa\"",
        "\"mfa_device\":\"d\"",
        "\"target_node\":\"n\"",
        "\"target_kube\":\"k\"",
        "\"base_not_after\":5",
        "\"mfa_device\":\"d\",\"target_node\":\"n\",\"base_not_after\":5",
        "\"target_reason\":\"mfa\",\"target_node\":\"n\"",
        "\"target_reason\":\"mfa\",\"target_kube\":\"k\"",
        "\"target_reason\":\"mfa\",\"target_node\":\"n\",\"base_not_after\":5",
        "\"target_reason\":\"mfa\",\"mfa_device\":\"d\",\"base_not_after\":5",
        "\"target_reason\":\"mfa\",\"mfa_device\":\"d\",\"target_node\":\"n\"",
        "\"target_reason\":\"mfa\",\"mfa_device\":\"d\",\"target_node\":\"n\",\"target_kube\":\"k\",\"base_not_after\":"
        "5",
        "\"target_reason\":\"mfa\",\"mfa_device\":\"d\",\"target_node\":\"\",\"base_not_after\":5",
        "\"target_reason\":\"mfa\",\"mfa_device\":\"\",\"target_node\":\"n\",\"base_not_after\":5",
        "\"target_reason\":\"mfa\",\"mfa_device\":\"d\",\"target_node\":\"n\",\"base_not_after\":0",
        "\"target_reason\":\"mfa\",\"mfa_device\":\"d\",\"target_node\":\"n\",\"base_not_after\":\"5\"",
        "\"target_reason\":\"mfa\",\"mfa_device\":\"d\",\"target_app\":\"n\",\"base_not_after\":5",
        "\"target_reason\":\"\",\"target_kube\":\"k\"",
        "\"target_reason\":\"other\",\"target_kube\":\"k\"",
        "\"target_reason\":7,\"target_kube\":\"k\"",
        "\"target_reason\":\"kubeconfig\"",
        "\"target_reason\":\"kubeconfig\",\"target_kube\":\"\"",
        "\"target_reason\":\"kubeconfig\",\"target_node\":\"n\"",
        "\"target_reason\":\"kubeconfig\",\"target_node\":\"n\",\"target_kube\":\"k\"",
        "\"target_reason\":\"kubeconfig\",\"target_kube\":\"k\",\"mfa_device\":\"d\"",
        "\"target_reason\":\"kubeconfig\",\"target_kube\":\"k\",\"base_not_after\":5",
        "\"target_reason\":\"kubeconfig\",\"target_kube\":\"k\",\"mfa_device\":\"d\",\"base_not_after\":5",
        "\"only_kube\":\"k\"",
    };
    const size_t count = sizeof good / sizeof good[0];
    (void)state;
    for (size_t i = 0; i < count + sizeof bad / sizeof bad[0]; i++) {
        char *text = mem_printf("{\"v\":1,\"kind\":\"user\",\"cluster\":\"c\",\"name\":\"a\",\"roles\":[],"
                                "\"traits\":{},\"logins\":[],%s}",
                                i < count ? good[i] : bad[i - count]);
        json_t *json = NULL;
        struct identity identity;
        identity_init(&identity);
        assert_int_equal(json_parse_object(text, strlen(text), 4096, &json, NULL), TP_OK);
        assert_int_equal(identity_from_json(json, &identity, NULL), i < count ? TP_OK : TP_INVALID);
        if (i < count) {
            json_t *again = identity_to_json(&identity);
            assert_true(json_equal(json, again));
            json_decref(again);
        }
        identity_free(&identity);
        json_decref(json);
        mem_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_round_trip),
        cmocka_unit_test(test_the_device_of_the_login),
        cmocka_unit_test(test_host_round_trip_with_names),
        cmocka_unit_test(test_R6_times),
        cmocka_unit_test(test_R6_user_and_host_CA_are_never_mixed),
        cmocka_unit_test(test_R6_subject_keys),
        cmocka_unit_test(test_go_can_read_the_name_of_our_extension),
        cmocka_unit_test(test_R6_correctly_signed_but_wrong),
        cmocka_unit_test(test_R6_a_leaf_signs_nobody),
        cmocka_unit_test(test_R6_every_changed_or_missing_byte),
        cmocka_unit_test(test_R6_a_remembered_signature_is_no_pass),
        cmocka_unit_test(test_R4_a_target_is_whole),
        cmocka_unit_test(test_pin_and_lifetime),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
