/* OpenSSH certificates: what we make is read by ssh-keygen and by us; everything else is refused (R6). */
#include "base/enc.h"
#include "base/mem.h"
#include "base/wire.h"
#include "crypt/key.h"
#include "crypt/sshcert.h"

#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

#define NOW ((int64_t)1790000000)
#define KEYGEN "/usr/bin/ssh-keygen"

static struct key *ca, *other_ca, *user_key;
static char *ca_line, *other_ca_line;
static const char *const principals[] = {"root", "ubuntu", NULL};
static const char *const extensions[] = {
    "permit-pty", "", "tport-identity@tport", "{\"v\":1}", "permit-agent-forwarding", "", NULL};

static int begin(void **state)
{
    (void)state;
    ca = key_generate(KEY_ED25519);
    other_ca = key_generate(KEY_ED25519);
    user_key = key_generate(KEY_ED25519);
    ca_line = key_public_ssh(ca, "user CA");
    other_ca_line = key_public_ssh(other_ca, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    key_free(ca);
    key_free(other_ca);
    key_free(user_key);
    mem_free(ca_line);
    mem_free(other_ca_line);
    return 0;
}

static struct sshcert_options options_for(const char *line)
{
    return (struct sshcert_options){.public_line = line,
                                    .key_id = "alice",
                                    .principals = principals,
                                    .valid_after = NOW - 60,
                                    .valid_before = NOW + 3600,
                                    .extensions = extensions};
}

static void make_blob(const struct sshcert_options *options, struct buf *out)
{
    char *line = NULL;
    struct tp_error error = {0};
    if (sshcert_make(ca, options, &line, &error) != TP_OK)
        fail_msg("%s", error.text);
    assert_int_equal(sshcert_blob(line, out, &error), TP_OK);
    mem_free(line);
}

static char *run_keygen(char *const argv[])
{
    posix_spawn_file_actions_t actions;
    int pipes[2], status;
    pid_t child;
    struct buf out;
    char *text;
    ssize_t count;
    if (access(KEYGEN, X_OK) != 0)
        return NULL;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipes[1], 1), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipes[1], 2), 0);
    assert_int_equal(posix_spawn(&child, KEYGEN, &actions, NULL, argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipes[1]);
    buf_init(&out, 0);
    do {
        uint8_t *room = buf_reserve(&out, 4096);
        count = read(pipes[0], room, 4096);
        if (count > 0)
            buf_commit(&out, (size_t)count);
    } while (count > 0);
    (void)close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    text = mem_strdup(buf_text(&out));
    buf_free(&out);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("ssh-keygen: %s", text);
    return text;
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static void test_ssh_keygen_reads_our_certificates(void **state)
{
    char path[] = "/tmp/test_sshcert.XXXXXX";
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    (void)close(fd);
    for (int i = 0; i < 4; i++) {
        struct key *key = key_generate(i % 2 ? KEY_P256 : KEY_ED25519);
        char *line = key_public_ssh(key, NULL), *cert = NULL, *text;
        struct sshcert_options options = options_for(line);
        struct tp_error error = {0};
        char *const argv[] = {"ssh-keygen", "-L", "-f", path, NULL};
        options.host = i >= 2;
        if (options.host) {
            options.valid_before = INT64_MAX;
            options.extensions = NULL;
        } else {
            options.source_address = "10.0.0.1/32";
        }
        assert_int_equal(sshcert_make(ca, &options, &cert, &error), TP_OK);
        write_text(path, cert);
        text = run_keygen(argv);
        if (!text) {
            print_message("ssh-keygen is not installed: skipped\n");
        } else {
            assert_non_null(strstr(text, options.host ? "host certificate" : "user certificate"));
            assert_non_null(strstr(text, "Key ID: \"alice\""));
            assert_non_null(strstr(text, "ubuntu"));
            assert_non_null(strstr(text, "(using ssh-ed25519)"));
            if (options.host) {
                assert_non_null(strstr(text, "Valid: after "));
            } else {
                assert_non_null(strstr(text, "source-address 10.0.0.1/32"));
                assert_non_null(strstr(text, "permit-agent-forwarding\n"));
                assert_non_null(strstr(text, "tport-identity@tport"));
                assert_null(strstr(text, "permit-pty UNKNOWN"));
            }
        }
        mem_free(text);
        mem_free(cert);
        mem_free(line);
        key_free(key);
    }
    assert_int_equal(unlink(path), 0);
}

static void test_ssh_keygen_reads_our_private_keys(void **state)
{
    char path[] = "/tmp/test_sshkey.XXXXXX";
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    (void)close(fd);
    for (int i = 0; i < 20; i++) { /* several: a P-256 number with its top bit set is written differently */
        struct key *key = key_generate(i % 2 ? KEY_P256 : KEY_ED25519);
        char *file = key_to_openssh(key, "me"), *line = key_public_ssh(key, "me"), *text;
        char *const argv[] = {"ssh-keygen", "-y", "-f", path, NULL};
        write_text(path, file);
        text = run_keygen(argv);
        if (text)
            assert_int_equal(strncmp(text, line, strlen(line)), 0);
        mem_free(text);
        secret_free(file);
        mem_free(line);
        key_free(key);
    }
    assert_int_equal(unlink(path), 0);
}

static void test_round_trip(void **state)
{
    char *line = key_public_ssh(user_key, "me@home");
    struct sshcert_options options = options_for(line);
    struct sshcert cert;
    struct buf blob, plain;
    struct tp_error error = {0};
    uint8_t expected[32], signer[32];
    (void)state;
    options.source_address = "10.1.0.0/16,2001:db8::/32";
    buf_init(&blob, 0);
    buf_init(&plain, 0);
    make_blob(&options, &blob);
    if (sshcert_parse(buf_head(&blob), buf_size(&blob), &cert, &error) != TP_OK)
        fail_msg("%s", error.text);
    assert_false(cert.host);
    assert_string_equal(cert.key_id, "alice");
    assert_int_equal(cert.principal_count, 2);
    assert_string_equal(cert.principals[1], "ubuntu");
    assert_null(cert.principals[2]);
    assert_int_equal(cert.valid_after, NOW - 60);
    assert_int_equal(cert.valid_before, NOW + 3600);
    assert_string_equal(cert.source_address, options.source_address);
    assert_string_equal(cert.identity, "{\"v\":1}");
    assert_int_equal(key_ed25519_public(ca, signer), TP_OK);
    assert_memory_equal(cert.signer, signer, 32);
    assert_int_equal(sshcert_blob(line, &plain, &error), TP_OK);
    crypt_sha256(buf_head(&plain), buf_size(&plain), expected);
    assert_memory_equal(cert.key_hash, expected, 32);
    sshcert_free(&cert);
    buf_free(&blob);
    buf_free(&plain);
    mem_free(line);
}

static void test_R6_every_changed_or_missing_byte_is_refused(void **state)
{
    char *line = key_public_ssh(user_key, NULL);
    struct sshcert_options options = options_for(line);
    struct sshcert cert;
    struct buf blob;
    uint8_t *copy;
    (void)state;
    buf_init(&blob, 0);
    make_blob(&options, &blob);
    copy = mem_dup(buf_head(&blob), buf_size(&blob));
    for (size_t i = 0; i < buf_size(&blob); i++) {
        for (int bit = 0; bit < 8; bit++) {
            copy[i] ^= (uint8_t)(1 << bit);
            if (sshcert_parse(copy, buf_size(&blob), &cert, NULL) == TP_OK)
                fail_msg("bit %d of byte %zu may be changed", bit, i);
            copy[i] ^= (uint8_t)(1 << bit);
        }
        assert_int_not_equal(sshcert_parse(copy, i, &cert, NULL), TP_OK);
    }
    assert_int_equal(buf_append(&blob, "", 1), TP_OK);
    assert_int_not_equal(sshcert_parse(buf_head(&blob), buf_size(&blob), &cert, NULL), TP_OK);
    mem_free(copy);
    buf_free(&blob);
    mem_free(line);
}

/* A certificate put together by hand, correctly signed, so that only the rule under test can refuse it. */
struct raw {
    const char *type;
    uint32_t kind;
    const char *principals[3];
    const char *critical[4]; /* name, value, ... */
    const char *extra[6];
    const char *reserved;
    bool certified_signer; /* the signature key is itself a certificate */
    bool p256_signer;
    const char *curve;
    bool bare_value; /* an option's value without its own length */
    bool tail_in_signature;
};

static void put_options(struct buf *out, const char *const *list, size_t room, bool bare)
{
    struct buf part;
    buf_init(&part, 0);
    for (size_t i = 0; i + 1 < room && list[i]; i += 2) {
        struct buf value;
        buf_init(&value, 0);
        if (bare)
            wr_bytes(&value, list[i + 1], strlen(list[i + 1]));
        else if (list[i + 1][0])
            wr_cstring(&value, list[i + 1]);
        wr_cstring(&part, list[i]);
        wr_string(&part, buf_head(&value), buf_size(&value));
        buf_free(&value);
    }
    wr_string(out, buf_head(&part), buf_size(&part));
    buf_free(&part);
}

static void put_signer(struct buf *out, const struct raw *raw)
{
    uint8_t public_key[32];
    struct buf part;
    buf_init(&part, 0);
    assert_int_equal(key_ed25519_public(ca, public_key), TP_OK);
    if (raw->certified_signer) {
        char *line = key_public_ssh(ca, NULL);
        struct sshcert_options options = options_for(line);
        make_blob(&options, &part);
        mem_free(line);
    } else if (raw->p256_signer) {
        struct key *key = key_generate(KEY_P256);
        char *line = key_public_ssh(key, NULL);
        assert_int_equal(sshcert_blob(line, &part, NULL), TP_OK);
        mem_free(line);
        key_free(key);
    } else {
        wr_cstring(&part, "ssh-ed25519");
        wr_string(&part, public_key, 32);
    }
    wr_string(out, buf_head(&part), buf_size(&part));
    buf_free(&part);
}

static void build(const struct raw *raw, struct buf *out)
{
    uint8_t public_key[32], signature[64];
    struct buf part;
    const char *type = raw->type ? raw->type : "ssh-ed25519-cert-v01@openssh.com";
    wr_cstring(out, type);
    wr_string(out, "0123456789abcdef0123456789abcdef", 32);
    assert_int_equal(key_ed25519_public(user_key, public_key), TP_OK);
    if (raw->curve) {
        wr_cstring(out, raw->curve);
        wr_string(out,
                  "\x04"
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                  65);
    } else {
        wr_string(out, public_key, 32);
    }
    wr_u64(out, 0);
    wr_u32(out, raw->kind);
    wr_cstring(out, "alice");
    buf_init(&part, 0);
    for (size_t i = 0; i < 3 && raw->principals[i]; i++)
        wr_cstring(&part, raw->principals[i]);
    wr_string(out, buf_head(&part), buf_size(&part));
    buf_clear(&part);
    wr_u64(out, (uint64_t)(NOW - 60));
    wr_u64(out, (uint64_t)(NOW + 60));
    put_options(out, raw->critical, 4, raw->bare_value);
    put_options(out, raw->extra, 6, false);
    wr_cstring(out, raw->reserved ? raw->reserved : "");
    put_signer(out, raw);
    assert_int_equal(key_sign_ed25519(ca, buf_head(out), buf_size(out), signature), TP_OK);
    wr_cstring(&part, "ssh-ed25519");
    wr_string(&part, signature, 64);
    if (raw->tail_in_signature)
        wr_u8(&part, 0);
    wr_string(out, buf_head(&part), buf_size(&part));
    buf_free(&part);
}

static void test_R6_correctly_signed_but_wrong(void **state)
{
    static const struct {
        const char *name;
        bool good;
        struct raw raw;
    } cases[] = {
        {"as it should be", true, {.kind = 1, .principals = {"root"}}},
        {"with options",
         true,
         {.kind = 1, .principals = {"root"}, .critical = {"source-address", "10.0.0.1"}, .extra = {"a", "", "b", "x"}}},
        {"no principals", false, {.kind = 1}},
        {"an empty principal", false, {.kind = 1, .principals = {"root", ""}}},
        {"neither user nor host", false, {.kind = 3, .principals = {"root"}}},
        {"kind zero", false, {.principals = {"root"}}},
        {"force-command", false, {.kind = 1, .principals = {"root"}, .critical = {"force-command", "id"}}},
        {"verify-required", false, {.kind = 1, .principals = {"root"}, .critical = {"verify-required", ""}}},
        {"empty source-address", false, {.kind = 1, .principals = {"root"}, .critical = {"source-address", ""}}},
        {"source-address twice",
         false,
         {.kind = 1,
          .principals = {"root"},
          .critical = {"source-address", "10.0.0.1", "source-address", "0.0.0.0/0"}}},
        {"source-address not in a string",
         false,
         {.kind = 1, .principals = {"root"}, .critical = {"source-address", "10.0.0.1"}, .bare_value = true}},
        {"critical option on a host",
         false,
         {.kind = 2, .principals = {"root"}, .critical = {"source-address", "10.0.0.1"}}},
        {"extensions not sorted", false, {.kind = 1, .principals = {"root"}, .extra = {"b", "", "a", ""}}},
        {"an extension twice", false, {.kind = 1, .principals = {"root"}, .extra = {"a", "", "a", ""}}},
        {"something reserved", false, {.kind = 1, .principals = {"root"}, .reserved = "x"}},
        {"signed by a certificate", false, {.kind = 1, .principals = {"root"}, .certified_signer = true}},
        {"signed by P-256", false, {.kind = 1, .principals = {"root"}, .p256_signer = true}},
        {"bytes behind the signature", false, {.kind = 1, .principals = {"root"}, .tail_in_signature = true}},
        {"plain type name", false, {.type = "ssh-ed25519", .kind = 1, .principals = {"root"}}},
        {"security key", false, {.type = "sk-ssh-ed25519-cert-v01@openssh.com", .kind = 1, .principals = {"root"}}},
        {"DSA", false, {.type = "ssh-dss-cert-v01@openssh.com", .kind = 1, .principals = {"root"}}},
        {"old format", false, {.type = "ssh-ed25519-cert-v00@openssh.com", .kind = 1, .principals = {"root"}}},
        {"type with a tail", false, {.type = "ssh-ed25519-cert-v01@openssh.comx", .kind = 1, .principals = {"root"}}},
        {"point off the curve",
         false,
         {.type = "ecdsa-sha2-nistp256-cert-v01@openssh.com", .curve = "nistp256", .kind = 1, .principals = {"root"}}},
        {"curve confusion",
         false,
         {.type = "ecdsa-sha2-nistp256-cert-v01@openssh.com", .curve = "nistp384", .kind = 1, .principals = {"root"}}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf blob;
        struct sshcert cert;
        struct tp_error error = {0};
        enum tp_err code;
        buf_init(&blob, 0);
        build(&cases[i].raw, &blob);
        code = sshcert_parse(buf_head(&blob), buf_size(&blob), &cert, &error);
        if ((code == TP_OK) != cases[i].good)
            fail_msg("%s: %s %s", cases[i].name, err_name(code), error.text);
        if (code == TP_OK)
            sshcert_free(&cert);
        buf_free(&blob);
    }
}

static void test_R6_check_against_CA_kind_time_name_and_address(void **state)
{
    const char *const ours[] = {other_ca_line, ca_line, NULL};
    const char *const others[] = {other_ca_line, NULL};
    const char *const none[] = {NULL};
    const struct {
        bool host;
        const char *const *cas;
        int64_t now;
        const char *principal;
        const char *address;
        enum tp_err code;
    } cases[] = {
        {false, ours, NOW, "root", "10.0.0.7", TP_OK},
        {false, ours, NOW, "root", "::ffff:10.0.0.7", TP_OK},
        {false, ours, NOW, NULL, "10.0.0.7", TP_OK},
        {true, ours, NOW, "root", "10.0.0.7", TP_DENIED},
        {false, others, NOW, "root", "10.0.0.7", TP_DENIED},
        {false, none, NOW, "root", "10.0.0.7", TP_DENIED},
        {false, NULL, NOW, "root", "10.0.0.7", TP_DENIED},
        {false, ours, NOW - 61, "root", "10.0.0.7", TP_EXPIRED},
        {false, ours, NOW - 60, "root", "10.0.0.7", TP_OK},
        {false, ours, NOW + 3599, "root", "10.0.0.7", TP_OK},
        {false, ours, NOW + 3600, "root", "10.0.0.7", TP_EXPIRED},
        {false, ours, NOW, "Root", "10.0.0.7", TP_DENIED},
        {false, ours, NOW, "", "10.0.0.7", TP_DENIED},
        {false, ours, NOW, "root", NULL, TP_DENIED},
        {false, ours, NOW, "root", "10.0.0.8", TP_DENIED},
        {false, ours, NOW, "root", "2001:db8::1", TP_DENIED},
        {false, ours, NOW, "root", "nonsense", TP_DENIED},
    };
    char *line = key_public_ssh(user_key, NULL);
    struct sshcert_options options = options_for(line);
    struct buf blob;
    (void)state;
    options.source_address = "192.168.0.0/24,10.0.0.7";
    buf_init(&blob, 0);
    make_blob(&options, &blob);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sshcert cert;
        struct tp_error error = {0};
        enum tp_err code = sshcert_check(buf_head(&blob), buf_size(&blob), cases[i].host, cases[i].cas, cases[i].now,
                                         cases[i].principal, cases[i].address, &cert, &error);
        if (code != cases[i].code)
            fail_msg("case %zu: %s %s", i, err_name(code), error.text);
        if (code == TP_OK)
            sshcert_free(&cert);
    }
    buf_free(&blob);
    mem_free(line);
}

static void test_R6_what_is_not_signed(void **state)
{
    static const char *const empty[] = {NULL};
    static const char *const blank[] = {"root", "", NULL};
    static const char *const twice[] = {"a", "", "a", "", NULL};
    static const char *const lines[] = {
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!!",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAAB3NzaC1kc3MAAAAA",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7",                                      /* cut */
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"}; /* says another type */
    char *line = key_public_ssh(user_key, NULL), *cert = NULL;
    struct key *p256 = key_generate(KEY_P256);
    struct sshcert_options options;
    struct tp_error error = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        options = options_for(lines[i]);
        assert_int_equal(sshcert_make(ca, &options, &cert, &error), TP_INVALID);
    }
    options = options_for(line);
    assert_int_equal(sshcert_make(p256, &options, &cert, &error), TP_INVALID);
    options.principals = empty;
    assert_int_equal(sshcert_make(ca, &options, &cert, &error), TP_INVALID);
    options.principals = NULL;
    assert_int_equal(sshcert_make(ca, &options, &cert, &error), TP_INVALID);
    options.principals = blank;
    assert_int_equal(sshcert_make(ca, &options, &cert, &error), TP_INVALID);
    options = options_for(line);
    options.extensions = twice;
    assert_int_equal(sshcert_make(ca, &options, &cert, &error), TP_INVALID);
    options = options_for(line);
    options.valid_before = options.valid_after;
    assert_int_equal(sshcert_make(ca, &options, &cert, &error), TP_INVALID);
    options = options_for(line);
    options.source_address = "";
    assert_int_equal(sshcert_make(ca, &options, &cert, &error), TP_INVALID);
    mem_free(line);
    key_free(p256);
}

/* An RSA key of the given size with a made-up odd modulus: the parser looks at the form only. */
static char *rsa_line(size_t bits)
{
    struct buf blob;
    uint8_t modulus[513] = {0};
    char *base64, *line;
    buf_init(&blob, 0);
    memset(modulus + 1, 0xc5, bits / 8);
    wr_cstring(&blob, "ssh-rsa");
    wr_string(&blob, "\1\0\1", 3);
    wr_string(&blob, modulus, bits / 8 + 1);
    base64 = enc_base64(buf_head(&blob), buf_size(&blob));
    line = mem_printf("ssh-rsa %s", base64);
    mem_free(base64);
    buf_free(&blob);
    return line;
}

static void test_rsa_sizes(void **state)
{
    static const size_t sizes[] = {1024, 2040, 2048, 4096};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char *line = rsa_line(sizes[i]), *cert = NULL;
        struct sshcert_options options = options_for(line);
        assert_int_equal(sshcert_make(ca, &options, &cert, NULL), sizes[i] >= 2048 ? TP_OK : TP_INVALID);
        if (cert) {
            struct buf blob;
            struct sshcert parsed;
            buf_init(&blob, 0);
            assert_int_equal(sshcert_blob(cert, &blob, NULL), TP_OK);
            assert_int_equal(sshcert_parse(buf_head(&blob), buf_size(&blob), &parsed, NULL), TP_OK);
            sshcert_free(&parsed);
            buf_free(&blob);
        }
        mem_free(cert);
        mem_free(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ssh_keygen_reads_our_certificates),
        cmocka_unit_test(test_ssh_keygen_reads_our_private_keys),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_R6_every_changed_or_missing_byte_is_refused),
        cmocka_unit_test(test_R6_correctly_signed_but_wrong),
        cmocka_unit_test(test_R6_check_against_CA_kind_time_name_and_address),
        cmocka_unit_test(test_R6_what_is_not_signed),
        cmocka_unit_test(test_rsa_sizes),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
