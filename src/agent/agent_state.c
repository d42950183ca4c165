#include "agent/agent_state.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/mem.h"
#include "crypt/key.h"
#include "crypt/sshcert.h"
#include "crypt/statement.h"
#include "crypt/x509.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1024 * 1024)
#define GRANT_KEYS_MAX 16

void agent_state_init(struct agent_state *state)
{
    memset(state, 0, sizeof(*state));
    identity_init(&state->identity);
}

static void free_lines(char **lines)
{
    for (size_t i = 0; lines != NULL && lines[i] != NULL; i++) {
        mem_free(lines[i]);
    }
    mem_free(lines);
}

static void free_trust(struct agent_state *state)
{
    json_decref(state->cas);
    mem_free(state->host_ca_pems);
    free_lines(state->host_ca_ssh);
    free_lines(state->user_ca_ssh);
    mem_free(state->grant_keys);
}

void agent_state_free(struct agent_state *state)
{
    mem_free(state->host_id);
    secret_free(state->tls_key);
    mem_free(state->tls_cert);
    secret_free(state->ssh_key);
    mem_free(state->ssh_public);
    mem_free(state->ssh_cert);
    identity_free(&state->identity);
    free_trust(state);
    agent_state_init(state);
}

/* ---- files ---- */

static enum tp_err read_file(const char *dir, const char *name, char **ret_text, struct tp_error *error)
{
    char *path = mem_printf("%s/%s", dir, name);
    struct buf buf;
    buf_init(&buf, FILE_MAX);
    enum tp_err err = TP_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        err = err_errno(error, errno, "%s can't be read", path);
    }
    while (err == TP_OK) {
        uint8_t *room = buf_reserve(&buf, 4096);
        if (room == NULL) {
            err = err_set(error, TP_TOO_LARGE, "%s is larger than 1 MB", path);
            break;
        }
        ssize_t got = read(fd, room, 4096);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            err = err_errno(error, errno, "%s can't be read", path);
        }
        if (got <= 0) {
            break;
        }
        buf_commit(&buf, (size_t)got);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (err == TP_OK) {
        *ret_text = mem_strndup((const char *)buf_head(&buf), buf_size(&buf));
    }
    buf_wipe(&buf);
    mem_free(path);
    return err;
}

static bool write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, text, size);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return false;
        }
        text += put;
        size -= (size_t)put;
    }
    return true;
}

static enum tp_err write_file(const char *dir, const char *name, const char *text, struct tp_error *error)
{
    char *path = mem_printf("%s/%s", dir, name);
    char *fresh = mem_printf("%s/%s.new", dir, name);
    enum tp_err err = TP_OK;
    (void)unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || !write_all(fd, text, strlen(text)) || fsync(fd) != 0 || rename(fresh, path) != 0) {
        err = err_errno(error, errno, "%s can't be written", path);
        (void)unlink(fresh);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    mem_free(path);
    mem_free(fresh);
    return err;
}

static enum tp_err sync_dir(const char *dir, struct tp_error *error)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum tp_err err = TP_OK;
    if (fd < 0 || fsync(fd) != 0) {
        err = err_errno(error, errno, "%s can't be written", dir);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return err;
}

static enum tp_err make_dir(const char *dir, struct tp_error *error)
{
    struct stat info;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return err_errno(error, errno, "%s can't be made", dir);
    }
    if (lstat(dir, &info) != 0) {
        return err_errno(error, errno, "%s can't be used", dir);
    }
    if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
        return err_set(
            error, TP_DENIED,
            "%s holds this host's keys: it must be a directory of mode 0700 that belongs to the agent's user", dir);
    }
    return TP_OK;
}

static bool is_uuid(const char *text)
{
    for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : strchr("0123456789abcdef", text[i]) == NULL || text[i] == '\0') {
            return false;
        }
    }
    return text[UUID_TEXT_SIZE - 1] == '\0';
}

enum tp_err agent_state_host_id(const char *dir, char **ret_host_id, struct tp_error *error)
{
    enum tp_err err = make_dir(dir, error);
    if (err != TP_OK) {
        return err;
    }
    char *text = NULL;
    err = read_file(dir, "host_id", &text, error);
    if (err == TP_OK) {
        text[strcspn(text, "\r\n")] = '\0';
        if (!is_uuid(text)) {
            mem_free(text);
            return err_set(error, TP_CORRUPT, "%s/host_id holds no UUID: remove the file and join again", dir);
        }
        *ret_host_id = text;
        return TP_OK;
    }
    if (err != TP_NOT_FOUND) {
        return err;
    }
    char id[UUID_TEXT_SIZE];
    crypt_uuid(id);
    err = write_file(dir, "host_id", id, error);
    if (err == TP_OK) {
        *ret_host_id = mem_strdup(id);
    }
    return err;
}

/* ---- what we trust ---- */

static void add_lines(const json_t *list, char **lines, size_t *count)
{
    size_t i;
    json_t *line;
    json_array_foreach (list, i, line) {
        if (json_string_value(line) != NULL) {
            lines[(*count)++] = mem_strdup(json_string_value(line));
        }
    }
}

static void read_host_lines(const json_t *signers, struct agent_state *state)
{
    size_t room = 1;
    size_t count = 0;
    size_t i;
    json_t *signer;
    json_array_foreach (signers, i, signer) {
        room += json_array_size(json_object_get(signer, "checking_keys"));
    }
    state->host_ca_ssh = mem_array(room, sizeof(char *));
    json_array_foreach (signers, i, signer) {
        add_lines(json_object_get(signer, "checking_keys"), state->host_ca_ssh, &count);
    }
}

static enum tp_err read_signers(const json_t *cas, struct agent_state *state, struct tp_error *error)
{
    json_t *signers;
    enum tp_err err = json_need_array(cas, "host_signers", &signers, error);
    if (err != TP_OK) {
        return err;
    }
    read_host_lines(signers, state);
    struct buf pems;
    buf_init(&pems, FILE_MAX);
    size_t i, j;
    json_t *signer, *cert;
    json_array_foreach (signers, i, signer) {
        json_array_foreach (json_object_get(signer, "tls_certs"), j, cert) {
            const char *text = json_string_value(cert);
            if (text == NULL || dec_base64(text, strlen(text), &pems) != TP_OK) {
                buf_free(&pems);
                return err_set(error, TP_INVALID, "a host CA certificate is not base64");
            }
            (void)buf_append_text(&pems, "\n");
        }
    }
    if (buf_size(&pems) == 0 || pems.failed) {
        buf_free(&pems);
        return err_set(error, TP_INVALID, "the answer names no host CA");
    }
    state->host_ca_pems = buf_take(&pems);
    return TP_OK;
}

static enum tp_err read_user_cas(const json_t *cas, struct agent_state *state, struct tp_error *error)
{
    json_t *lines;
    enum tp_err err = json_need_array(cas, "user_ca_ssh", &lines, error);
    if (err != TP_OK) {
        return err;
    }
    state->user_ca_ssh = mem_array(json_array_size(lines) + 1, sizeof(char *));
    size_t count = 0;
    add_lines(lines, state->user_ca_ssh, &count);
    return count > 0 ? TP_OK : err_set(error, TP_INVALID, "the answer names no user CA");
}

static enum tp_err read_grant_keys(const json_t *cas, struct agent_state *state, struct tp_error *error)
{
    json_t *keys;
    enum tp_err err = json_need_array(cas, "grant_keys", &keys, error);
    if (err != TP_OK) {
        return err;
    }
    size_t count = json_array_size(keys);
    if (count == 0 || count > GRANT_KEYS_MAX) {
        return err_set(error, TP_INVALID, "the answer names no key for grants, or too many");
    }
    state->grant_keys = mem_array(count, sizeof(*state->grant_keys));
    size_t i;
    json_t *key;
    json_array_foreach (keys, i, key) {
        struct buf raw;
        buf_init(&raw, 32);
        const char *text = json_string_value(key);
        bool good = text != NULL && dec_base64(text, strlen(text), &raw) == TP_OK && buf_size(&raw) == 32;
        if (good) {
            memcpy(state->grant_keys[i], buf_head(&raw), 32);
        }
        buf_free(&raw);
        if (!good) {
            return err_set(error, TP_INVALID, "a key for grants is not 32 bytes of base64");
        }
    }
    state->grant_key_count = count;
    return TP_OK;
}

static const char *const cas_members[] = {"host_signers", "user_ca_tls", "user_ca_ssh", "grant_keys"};

/* Fills what comes out of cas; on failure the caller frees. */
static enum tp_err read_cas(const json_t *answer, struct agent_state *state, struct tp_error *error)
{
    state->cas = json_object();
    for (size_t i = 0; i < sizeof(cas_members) / sizeof(cas_members[0]); i++) {
        json_t *member = json_object_get(answer, cas_members[i]);
        if (member != NULL) {
            (void)json_object_set_new(state->cas, cas_members[i], json_deep_copy(member));
        }
    }
    enum tp_err err = read_signers(state->cas, state, error);
    if (err == TP_OK) {
        err = read_user_cas(state->cas, state, error);
    }
    if (err == TP_OK) {
        err = read_grant_keys(state->cas, state, error);
    }
    return err;
}

/* A worker brings the answer, which could name CAs and grant keys of its own: those whom we trust now must have signed it. An
 * auth of before signs nothing; what it says is fine while it says nothing new. Fills in fresh; on failure the caller frees. */
static enum tp_err read_trust(const struct agent_state *state, const json_t *answer, struct agent_state *fresh,
                              struct tp_error *error)
{
    json_t *said = NULL;
    enum tp_err err = statement_open(answer, (const char *const *)state->host_ca_ssh, state->identity.cluster,
                                     clock_wall(), &said, error);
    bool bare = err == TP_NOT_FOUND;
    if (bare || err == TP_OK) {
        err = read_cas(bare ? answer : said, fresh, error);
    }
    if (err == TP_OK && bare && !json_equal(fresh->cas, state->cas)) {
        err =
            err_set(error, TP_DENIED,
                    "the proxy names other CAs than those that are trusted here, and the cluster has not signed that; "
                    "update the proxy and auth first, or remove DATA_DIR/agent and join this host again");
    }
    json_decref(said);
    return err;
}

enum tp_err agent_state_set_cas(struct agent_state *state, const json_t *answer, bool *ret_changed,
                                struct tp_error *error)
{
    struct agent_state fresh;
    agent_state_init(&fresh);
    enum tp_err err = read_trust(state, answer, &fresh, error);
    if (err != TP_OK || json_equal(fresh.cas, state->cas)) {
        *ret_changed = false;
        free_trust(&fresh);
        return err;
    }
    free_trust(state);
    state->cas = fresh.cas;
    state->host_ca_pems = fresh.host_ca_pems;
    state->host_ca_ssh = fresh.host_ca_ssh;
    state->user_ca_ssh = fresh.user_ca_ssh;
    state->grant_keys = fresh.grant_keys;
    state->grant_key_count = fresh.grant_key_count;
    *ret_changed = true;
    return TP_OK;
}

/* Reads and checks the certificate: it must be a node's, and this host's. Its validity is judged by those who see it. */
static enum tp_err read_identity(struct agent_state *state, struct tp_error *error)
{
    struct buf der;
    buf_init(&der, FILE_MAX);
    enum tp_err err = x509_pem_to_der(state->tls_cert, strlen(state->tls_cert), &der, error);
    if (err == TP_OK) {
        err = x509_read(buf_head(&der), buf_size(&der), &state->identity, error);
    }
    buf_free(&der);
    if (err == TP_OK && (state->identity.kind != IDENTITY_HOST || state->identity.host_id == NULL ||
                         strcmp(state->identity.host_id, state->host_id) != 0)) {
        err = err_set(error, TP_INVALID, "the certificate is not for this host's id %s", state->host_id);
    }
    return err;
}

static void copy_keys(struct agent_state *state, const char *host_id, const char *tls_key, const char *ssh_key,
                      const char *ssh_public)
{
    state->host_id = mem_strdup(host_id);
    state->tls_key = mem_strdup(tls_key);
    state->ssh_key = mem_strdup(ssh_key);
    state->ssh_public = mem_strdup(ssh_public);
}

/* The certificates of the answer, for keys that are there. */
static enum tp_err read_certs(const json_t *answer, struct agent_state *state, struct tp_error *error)
{
    const char *tls_cert = NULL;
    const char *ssh_cert = NULL;
    enum tp_err err = json_need_text(answer, "tls_cert", &tls_cert, error);
    if (err == TP_OK) {
        err = json_need_text(answer, "ssh_cert", &ssh_cert, error);
    }
    if (err != TP_OK) {
        return err;
    }
    state->tls_cert = mem_strdup(tls_cert);
    state->ssh_cert = mem_strdup(ssh_cert);
    return read_identity(state, error);
}

enum tp_err agent_state_make(const char *host_id, const char *tls_key, const char *ssh_key, const char *ssh_public,
                             const json_t *answer, struct agent_state *ret_state, struct tp_error *error)
{
    struct agent_state state;
    agent_state_init(&state);
    copy_keys(&state, host_id, tls_key, ssh_key, ssh_public);
    enum tp_err err = read_certs(answer, &state, error);
    if (err == TP_OK) {
        err = read_cas(answer, &state, error);
    }
    if (err != TP_OK) {
        agent_state_free(&state);
        return err;
    }
    *ret_state = state;
    return TP_OK;
}

static bool same_tls_key(const char *one, const char *other)
{
    char *pins[2] = {NULL, NULL};
    bool same = x509_pin(one, &pins[0], NULL) == TP_OK && x509_pin(other, &pins[1], NULL) == TP_OK &&
                strcmp(pins[0], pins[1]) == 0;
    mem_free(pins[0]);
    mem_free(pins[1]);
    return same;
}

static enum tp_err check_tls_cert(const struct agent_state *state, struct tp_error *error)
{
    struct identity identity;
    struct buf der;
    identity_init(&identity);
    buf_init(&der, FILE_MAX);
    enum tp_err err = x509_pem_to_der(state->tls_cert, strlen(state->tls_cert), &der, error);
    if (err == TP_OK) { /* at its first second: our clock may be off, which is not its fault */
        err = x509_check(buf_head(&der), buf_size(&der), state->host_ca_pems, state->identity.not_before + 1, &identity,
                         error);
    }
    identity_free(&identity);
    buf_free(&der);
    return err;
}

static enum tp_err check_ssh_cert(const struct agent_state *state, struct tp_error *error)
{
    struct sshcert cert = {0};
    struct buf blob, key;
    uint8_t hash[32];
    buf_init(&blob, FILE_MAX);
    buf_init(&key, FILE_MAX);
    enum tp_err err = sshcert_blob(state->ssh_cert, &blob, error);
    if (err == TP_OK) {
        err = sshcert_blob(state->ssh_public, &key, error);
    }
    if (err == TP_OK) {
        err = sshcert_check(buf_head(&blob), buf_size(&blob), true, (const char *const *)state->host_ca_ssh,
                            state->identity.not_before + 1, state->host_id, NULL, &cert, error);
    }
    if (err == TP_OK) {
        crypt_sha256(buf_head(&key), buf_size(&key), hash);
        if (memcmp(hash, cert.key_hash, sizeof(hash)) != 0) {
            err = err_set(error, TP_DENIED, "the SSH certificate is for another key");
        }
        sshcert_free(&cert);
    }
    buf_free(&blob);
    buf_free(&key);
    return err;
}

/* What a worker brings must not cost this host its identity: certificates that fit nothing would be kept for months. */
static enum tp_err check_certs(const struct agent_state *old, const struct agent_state *state, struct tp_error *error)
{
    enum tp_err err = check_tls_cert(state, error);
    if (err == TP_OK && !same_tls_key(old->tls_cert, state->tls_cert)) {
        err = err_set(error, TP_DENIED, "the certificate is for another key");
    }
    return err == TP_OK ? check_ssh_cert(state, error) : err;
}

enum tp_err agent_state_renew(const struct agent_state *state, const json_t *answer, struct agent_state *ret_state,
                              struct tp_error *error)
{
    struct agent_state fresh;
    agent_state_init(&fresh);
    copy_keys(&fresh, state->host_id, state->tls_key, state->ssh_key, state->ssh_public);
    enum tp_err err = read_certs(answer, &fresh, error);
    if (err == TP_OK) {
        err = read_trust(state, answer, &fresh, error);
    }
    if (err == TP_OK) {
        err = check_certs(state, &fresh, error);
    }
    if (err != TP_OK) {
        agent_state_free(&fresh);
        return err;
    }
    *ret_state = fresh;
    return TP_OK;
}

static enum tp_err load_into(const char *dir, struct agent_state *state, struct tp_error *error)
{
    static const char *const names[] = {"host_id",      "tls.key",          "tls.crt",
                                        "ssh_host_key", "ssh_host_key.pub", "ssh_host_key-cert.pub"};
    char **const texts[] = {&state->host_id, &state->tls_key,    &state->tls_cert,
                            &state->ssh_key, &state->ssh_public, &state->ssh_cert};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        enum tp_err err = read_file(dir, names[i], texts[i], error);
        if (err != TP_OK) {
            return err;
        }
    }
    state->host_id[strcspn(state->host_id, "\r\n")] = '\0';
    state->ssh_public[strcspn(state->ssh_public, "\r\n")] = '\0';
    state->ssh_cert[strcspn(state->ssh_cert, "\r\n")] = '\0';
    char *cas_text = NULL;
    enum tp_err err = read_file(dir, "cas.json", &cas_text, error);
    if (err != TP_OK) {
        return err;
    }
    json_t *cas = NULL;
    err = json_parse_object(cas_text, strlen(cas_text), FILE_MAX, &cas, error);
    mem_free(cas_text);
    if (err == TP_OK) {
        err = read_cas(cas, state, error);
        json_decref(cas);
    }
    if (err == TP_OK) {
        err = read_identity(state, error);
    }
    if (err != TP_OK) {
        err_prefix(error, "the state in %s is damaged (remove the directory to join again)", dir);
        return TP_CORRUPT;
    }
    return TP_OK;
}

enum tp_err agent_state_load(const char *dir, struct agent_state *ret_state, struct tp_error *error)
{
    enum tp_err err = make_dir(dir, error);
    if (err != TP_OK) {
        return err;
    }
    struct agent_state state;
    agent_state_init(&state);
    err = load_into(dir, &state, error);
    if (err != TP_OK) {
        agent_state_free(&state);
        return err;
    }
    *ret_state = state;
    return TP_OK;
}

enum tp_err agent_state_save(const char *dir, const struct agent_state *state, struct tp_error *error)
{
    char *cas = json_text(state->cas);
    /* The certificate last: a state is complete when it is there, and the key before it belongs to it. */
    const char *const files[][2] = {{"host_id", state->host_id},
                                    {"cas.json", cas},
                                    {"ssh_host_key", state->ssh_key},
                                    {"ssh_host_key.pub", state->ssh_public},
                                    {"ssh_host_key-cert.pub", state->ssh_cert},
                                    {"tls.key", state->tls_key},
                                    {"tls.crt", state->tls_cert}};
    enum tp_err err = TP_OK;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]) && err == TP_OK; i++) {
        err = write_file(dir, files[i][0], files[i][1], error);
    }
    if (err == TP_OK) {
        err = sync_dir(dir, error);
    }
    mem_free(cas);
    return err;
}
