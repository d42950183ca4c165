#include "crypt/sshcert.h"

#include "base/mem.h"
#include "crypt/sshcert_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_USER 1
#define TYPE_HOST 2

void sshcert_free(struct sshcert *cert)
{
    mem_free(cert->key_id);
    for (size_t i = 0; i < cert->principal_count; i++)
        mem_free(cert->principals[i]);
    mem_free(cert->principals);
    mem_free(cert->source_address);
    mem_free(cert->identity);
    memset(cert, 0, sizeof(*cert));
}

/* Text on the wire as a C string, or NULL when it holds a NUL. */
static char *text_of(struct rd text)
{
    if (!rd_ok(&text) || (text.left > 0 && memchr(text.at, 0, text.left)))
        return NULL;
    return mem_strndup((const char *)text.at, text.left);
}

static enum tp_err read_principals(struct rd list, struct sshcert *cert, struct tp_error *error)
{
    cert->principals = mem_array(SSHCERT_PRINCIPALS_MAX + 1, sizeof(*cert->principals));
    while (rd_ok(&list) && list.left > 0) {
        char *name = text_of(rd_string(&list));
        if (!name || name[0] == '\0' || cert->principal_count == SSHCERT_PRINCIPALS_MAX) {
            mem_free(name);
            return err_set(error, TP_INVALID, "the principals of the SSH certificate are malformed");
        }
        cert->principals[cert->principal_count++] = name;
    }
    if (!rd_done(&list) || cert->principal_count == 0)
        return err_set(error, TP_INVALID, "the SSH certificate has no principals");
    return TP_OK;
}

/* The value inside an option: empty, or exactly one string. */
static char *option_value(struct rd data)
{
    struct rd inner;
    if (!rd_ok(&data))
        return NULL;
    if (data.left == 0)
        return mem_strdup("");
    inner = rd_string(&data);
    return rd_done(&data) ? text_of(inner) : NULL;
}

static bool sorted(const struct rd *previous, const struct rd *name)
{
    size_t shorter = previous->left < name->left ? previous->left : name->left;
    int order = shorter > 0 ? memcmp(previous->at, name->at, shorter) : 0;
    return order < 0 || (order == 0 && previous->left < name->left);
}

static bool is_name(const struct rd *name, const char *wanted)
{
    return name->left == strlen(wanted) && memcmp(name->at, wanted, name->left) == 0;
}

static enum tp_err read_options(struct rd list, bool critical, struct sshcert *cert, struct tp_error *error)
{
    struct rd previous = {0};
    bool first = true;
    while (rd_ok(&list) && list.left > 0) {
        struct rd name = rd_string(&list);
        struct rd data = rd_string(&list);
        if (!rd_ok(&list) || name.left == 0 || (!first && !sorted(&previous, &name)))
            return err_set(error, TP_INVALID, "the options of the SSH certificate are malformed");
        if (critical) {
            if (!is_name(&name, "source-address") || cert->host)
                return err_set(error, TP_INVALID, "the SSH certificate has a critical option that is not known here");
            cert->source_address = option_value(data);
            if (!cert->source_address || cert->source_address[0] == '\0')
                return err_set(error, TP_INVALID, "the source address in the SSH certificate is malformed");
        } else if (is_name(&name, SSHCERT_IDENTITY)) {
            cert->identity = option_value(data);
            if (!cert->identity)
                return err_set(error, TP_INVALID, "the identity in the SSH certificate is malformed");
        }
        previous = name;
        first = false;
    }
    return rd_done(&list) ? TP_OK : err_set(error, TP_INVALID, "the options of the SSH certificate are malformed");
}

/* R6: the signer is a plain Ed25519 key, never a certificate, and the signature is over exactly the bytes before it. */
static enum tp_err read_signature(const uint8_t *blob, struct rd *rd, struct sshcert *cert, struct tp_error *error)
{
    struct rd signer = rd_string(rd);
    size_t signed_size = (size_t)(rd->at - blob);
    struct rd signature = rd_string(rd);
    struct rd type, value;
    if (!rd_done(rd))
        return err_set(error, TP_INVALID, "the SSH certificate is malformed");
    if (sshcert_ed25519_blob(signer.at, signer.left, cert->signer) != TP_OK)
        return err_set(error, TP_INVALID, "the SSH certificate was not signed by a plain Ed25519 key");
    type = rd_string(&signature);
    value = rd_string(&signature);
    if (!rd_done(&signature) || !is_name(&type, "ssh-ed25519") || value.left != 64 ||
        !key_verify_ed25519(cert->signer, blob, signed_size, value.at))
        return err_set(error, TP_DENIED, "the signature of the SSH certificate is wrong");
    return TP_OK;
}

static enum tp_err read_key(struct rd *rd, struct sshcert *cert, struct tp_error *error)
{
    enum sshcert_key type = SSHCERT_KEY_COUNT;
    const uint8_t *fields;
    size_t size;
    struct rd nonce;
    struct buf plain;
    if (sshcert_key_from_name(rd_string(rd), true, &type) != TP_OK)
        return err_set(error, TP_INVALID, "not an SSH certificate of a kind that is accepted here");
    nonce = rd_string(rd);
    if (!rd_ok(&nonce) || nonce.left < 16 || sshcert_key_fields(rd, type, &fields, &size) != TP_OK)
        return err_set(error, TP_INVALID, "the key in the SSH certificate is malformed or too short");
    buf_init(&plain, SSHCERT_MAX);
    wr_cstring(&plain, sshcert_plain_name(type));
    wr_bytes(&plain, fields, size);
    crypt_sha256(buf_head(&plain), buf_size(&plain), cert->key_hash);
    buf_free(&plain);
    return TP_OK;
}

static int64_t time_of(uint64_t value)
{
    return value > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)value;
}

static enum tp_err read_all(const uint8_t *blob, size_t size, struct sshcert *cert, struct tp_error *error)
{
    struct rd rd, principals, critical, extensions, reserved;
    uint32_t type;
    enum tp_err code;
    rd_init(&rd, blob, size);
    code = read_key(&rd, cert, error);
    if (code != TP_OK)
        return code;
    (void)rd_u64(&rd); /* serial */
    type = rd_u32(&rd);
    cert->key_id = text_of(rd_string(&rd));
    principals = rd_string(&rd);
    cert->valid_after = time_of(rd_u64(&rd));
    cert->valid_before = time_of(rd_u64(&rd));
    critical = rd_string(&rd);
    extensions = rd_string(&rd);
    reserved = rd_string(&rd);
    if (!rd_ok(&rd) || !cert->key_id || (type != TYPE_USER && type != TYPE_HOST) || reserved.left != 0 ||
        cert->valid_before <= cert->valid_after)
        return err_set(error, TP_INVALID, "the SSH certificate is malformed");
    cert->host = type == TYPE_HOST;
    code = read_signature(blob, &rd, cert, error);
    if (code == TP_OK)
        code = read_principals(principals, cert, error);
    if (code == TP_OK)
        code = read_options(critical, true, cert, error);
    if (code == TP_OK)
        code = read_options(extensions, false, cert, error);
    return code;
}

enum tp_err sshcert_parse(const uint8_t *blob, size_t size, struct sshcert *ret_cert, struct tp_error *error)
{
    struct sshcert cert = {0};
    enum tp_err code;
    if (size > SSHCERT_MAX)
        return err_set(error, TP_TOO_LARGE, "the SSH certificate is too large");
    code = read_all(blob, size, &cert, error);
    if (code != TP_OK) {
        sshcert_free(&cert);
        return code;
    }
    *ret_cert = cert;
    return TP_OK;
}

static bool is_one_of(const uint8_t signer[32], const char *const *ca_lines)
{
    bool found = false;
    for (size_t i = 0; ca_lines && ca_lines[i] && !found; i++) {
        struct buf blob;
        uint8_t key[32];
        buf_init(&blob, SSHCERT_MAX);
        if (sshcert_blob(ca_lines[i], &blob, NULL) == TP_OK &&
            sshcert_ed25519_blob(buf_head(&blob), buf_size(&blob), key) == TP_OK)
            found = memcmp(key, signer, sizeof(key)) == 0;
        buf_free(&blob);
    }
    return found;
}

/* Address bytes in one form: IPv4 inside IPv6 becomes IPv4. */
static size_t address_bytes(const char *text, uint8_t out[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    if (inet_pton(AF_INET6, text, out) != 1)
        return 0;
    if (memcmp(out, mapped, sizeof(mapped)) == 0) {
        memmove(out, out + 12, 4);
        return 4;
    }
    return 16;
}

/* One entry of source-address: ADDRESS or ADDRESS/BITS. */
static bool entry_matches(const char *entry, const uint8_t *address, size_t size)
{
    char copy[INET6_ADDRSTRLEN + 8];
    char *slash;
    uint8_t net[16];
    size_t bits = size * 8;
    if (strlen(entry) >= sizeof(copy))
        return false;
    memcpy(copy, entry, strlen(entry) + 1);
    slash = strchr(copy, '/');
    if (slash) {
        char *end;
        unsigned long value;
        *slash = '\0';
        if (slash[1] < '0' || slash[1] > '9')
            return false;
        value = strtoul(slash + 1, &end, 10);
        if (*end != '\0' || value > bits)
            return false;
        bits = value;
    }
    if (address_bytes(copy, net) != size || memcmp(net, address, bits / 8) != 0)
        return false;
    return bits % 8 == 0 || ((net[bits / 8] ^ address[bits / 8]) >> (8 - bits % 8)) == 0;
}

static bool address_allowed(const char *list, const char *address)
{
    uint8_t raw[16];
    size_t size = address ? address_bytes(address, raw) : 0;
    char *copy, *rest = NULL;
    bool found = false;
    if (size == 0)
        return false;
    copy = mem_strdup(list);
    for (char *entry = strtok_r(copy, ",", &rest); entry && !found; entry = strtok_r(NULL, ",", &rest))
        found = entry_matches(entry, raw, size);
    mem_free(copy);
    return found;
}

static enum tp_err check(const struct sshcert *cert, bool host, const char *const *ca_lines, int64_t now,
                         const char *principal, const char *address, struct tp_error *error)
{
    bool named = principal == NULL;
    if (cert->host != host)
        return err_set(error, TP_DENIED, "the SSH certificate is for a %s", cert->host ? "host" : "user");
    if (!is_one_of(cert->signer, ca_lines))
        return err_set(error, TP_DENIED, "the SSH certificate was not signed by a CA that is trusted here");
    if (now < cert->valid_after)
        return err_set(error, TP_EXPIRED, "the SSH certificate is not valid yet; check the clocks");
    if (cert->valid_before != INT64_MAX && now >= cert->valid_before)
        return err_set(error, TP_EXPIRED, "the SSH certificate has expired; sign in again");
    for (size_t i = 0; i < cert->principal_count && !named; i++)
        named = strcmp(cert->principals[i], principal) == 0;
    if (!named)
        return err_set(error, TP_DENIED, "the SSH certificate is not for this name");
    if (cert->source_address && !address_allowed(cert->source_address, address))
        return err_set(error, TP_DENIED, "the SSH certificate may not be used from this address");
    return TP_OK;
}

enum tp_err sshcert_check(const uint8_t *blob, size_t size, bool host, const char *const *ca_lines, int64_t now,
                          const char *principal, const char *address, struct sshcert *ret_cert, struct tp_error *error)
{
    struct sshcert cert;
    enum tp_err code = sshcert_parse(blob, size, &cert, error);
    if (code != TP_OK)
        return code;
    code = check(&cert, host, ca_lines, now, principal, address, error);
    if (code != TP_OK) {
        sshcert_free(&cert);
        return code;
    }
    *ret_cert = cert;
    return TP_OK;
}
