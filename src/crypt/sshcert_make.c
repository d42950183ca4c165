#include "crypt/sshcert.h"

#include "base/enc.h"
#include "base/mem.h"
#include "crypt/sshcert_internal.h"

#include <stdlib.h>
#include <string.h>

struct option {
    const char *name;
    const char *value;
};

static int compare_options(const void *a, const void *b)
{
    return strcmp(((const struct option *)a)->name, ((const struct option *)b)->name);
}

/* An option's value is a string inside a string; an option without a value has an empty outer one. */
static void write_option(struct buf *out, const char *name, const char *value)
{
    struct buf inner;
    buf_init(&inner, 0);
    if (value[0] != '\0')
        wr_cstring(&inner, value);
    wr_cstring(out, name);
    wr_string(out, buf_head(&inner), buf_size(&inner));
    buf_free(&inner);
}

static enum tp_err write_extensions(const char *const *list, struct buf *out, struct tp_error *error)
{
    size_t count = 0;
    struct option *options;
    enum tp_err code = TP_OK;
    while (list && list[2 * count]) {
        if (!list[2 * count + 1])
            return err_set(error, TP_INVALID, "the certificate extension %s has no value", list[2 * count]);
        count++;
    }
    options = mem_array(count + 1, sizeof(*options));
    for (size_t i = 0; i < count; i++)
        options[i] = (struct option){list[2 * i], list[2 * i + 1]};
    qsort(options, count, sizeof(*options), compare_options);
    for (size_t i = 0; i < count && code == TP_OK; i++) {
        if (i > 0 && strcmp(options[i - 1].name, options[i].name) == 0)
            code = err_set(error, TP_INVALID, "the certificate extension %s is given twice", options[i].name);
        else
            write_option(out, options[i].name, options[i].value);
    }
    mem_free(options);
    return code;
}

static enum tp_err write_principals(const char *const *principals, struct buf *out, struct tp_error *error)
{
    size_t count = 0;
    for (; principals && principals[count]; count++) {
        if (principals[count][0] == '\0')
            return err_set(error, TP_INVALID, "a principal of an SSH certificate is empty");
        wr_cstring(out, principals[count]);
    }
    /* OpenSSH takes a certificate without principals as good for every name. */
    if (count == 0)
        return err_set(error, TP_INVALID, "an SSH certificate needs at least one principal");
    if (count > SSHCERT_PRINCIPALS_MAX)
        return err_set(error, TP_TOO_LARGE, "an SSH certificate holds at most %d principals", SSHCERT_PRINCIPALS_MAX);
    return TP_OK;
}

/* Type name, nonce and the subject's key. */
static enum tp_err write_subject(const struct buf *blob, struct buf *out, enum sshcert_key *ret_type,
                                 struct tp_error *error)
{
    struct rd rd;
    uint8_t nonce[32];
    const uint8_t *fields;
    size_t size;
    rd_init(&rd, buf_head(blob), buf_size(blob));
    if (sshcert_key_from_name(rd_string(&rd), false, ret_type) != TP_OK ||
        sshcert_key_fields(&rd, *ret_type, &fields, &size) != TP_OK || !rd_done(&rd))
        return err_set(
            error, TP_INVALID,
            "the SSH key is not of a kind that gets a certificate here: use Ed25519, ECDSA P-256, or RSA of 2048 "
            "bits and more");
    crypt_random(nonce, sizeof(nonce));
    wr_cstring(out, sshcert_cert_name(*ret_type));
    wr_string(out, nonce, sizeof(nonce));
    wr_bytes(out, fields, size);
    return TP_OK;
}

static enum tp_err write_rest(const struct key *ca_key, const struct sshcert_options *options, struct buf *out,
                              struct tp_error *error)
{
    struct buf part;
    enum tp_err code;
    uint8_t signer[32], signature[64];
    wr_u64(out, 0); /* serial: not used */
    wr_u32(out, options->host ? 2 : 1);
    wr_cstring(out, options->key_id);

    buf_init(&part, SSHCERT_MAX);
    code = write_principals(options->principals, &part, error);
    wr_string(out, buf_head(&part), buf_size(&part));
    wr_u64(out, (uint64_t)options->valid_after);
    wr_u64(out, options->valid_before == INT64_MAX ? UINT64_MAX : (uint64_t)options->valid_before);
    buf_clear(&part);
    if (options->source_address)
        write_option(&part, "source-address", options->source_address);
    wr_string(out, buf_head(&part), buf_size(&part));
    buf_clear(&part);
    if (code == TP_OK)
        code = write_extensions(options->extensions, &part, error);
    wr_string(out, buf_head(&part), buf_size(&part));
    wr_string(out, "", 0); /* reserved */
    buf_clear(&part);
    if (code == TP_OK && key_ed25519_public(ca_key, signer) != TP_OK)
        code = err_set(error, TP_INVALID, "the SSH CA key must be Ed25519");
    if (code == TP_OK) {
        wr_cstring(&part, "ssh-ed25519");
        wr_string(&part, signer, sizeof(signer));
        wr_string(out, buf_head(&part), buf_size(&part));
        code = key_sign_ed25519(ca_key, buf_head(out), buf_size(out), signature);
        buf_clear(&part);
        wr_cstring(&part, "ssh-ed25519");
        wr_string(&part, signature, sizeof(signature));
        wr_string(out, buf_head(&part), buf_size(&part));
    }
    buf_free(&part);
    return code;
}

enum tp_err sshcert_make(const struct key *ca_key, const struct sshcert_options *options, char **ret_line,
                         struct tp_error *error)
{
    struct buf blob, cert;
    enum sshcert_key type = SSHCERT_KEY_COUNT;
    enum tp_err code;
    if (options->valid_after < 0 || options->valid_before <= options->valid_after)
        return err_set(error, TP_INVALID, "the SSH certificate would not be valid at any time");
    if (options->source_address && options->source_address[0] == '\0')
        return err_set(error, TP_INVALID, "the source address of an SSH certificate is empty");
    buf_init(&blob, SSHCERT_MAX);
    buf_init(&cert, SSHCERT_MAX);
    code = sshcert_blob(options->public_line, &blob, error);
    if (code == TP_OK)
        code = write_subject(&blob, &cert, &type, error);
    if (code == TP_OK)
        code = write_rest(ca_key, options, &cert, error);
    if (code == TP_OK && cert.failed)
        code = err_set(error, TP_TOO_LARGE, "roles and traits do not fit into an SSH certificate");
    if (code == TP_OK) {
        char *base64 = enc_base64(buf_head(&cert), buf_size(&cert));
        size_t id_length = strcspn(options->key_id, " \t\r\n"); /* the comment of the line must stay one line */
        *ret_line = mem_printf("%s %s %.*s", sshcert_cert_name(type), base64, (int)id_length, options->key_id);
        mem_free(base64);
    }
    buf_free(&cert);
    buf_free(&blob);
    return code;
}
