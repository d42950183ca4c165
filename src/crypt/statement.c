#include "crypt/statement.h"

#include "base/enc.h"
#include "base/mem.h"
#include "base/wire.h"
#include "crypt/marked.h"
#include "crypt/sshcert.h"

#include <string.h>

/* The key signs SSH certificates too; what it signs there begins with the length of a key type, never like this. */
#define MARK "tport-statement-1\n"
#define SIGNATURE_SIZE 64
#define SIGNATURES_MAX 8

enum tp_err statement_sign(json_t *answer, const char *cluster, const struct key *const *keys, size_t key_count,
                           int64_t now)
{
    json_t *said = json_copy(answer);
    (void)json_object_set_new(said, "cluster", json_string(cluster));
    (void)json_object_set_new(said, "issued", json_integer((json_int_t)now));
    char *text = json_text(said);
    json_t *signatures = json_array();
    struct buf bytes;
    enum tp_err err = TP_OK;
    marked(&bytes, MARK, text, strlen(text));
    for (size_t i = 0; err == TP_OK && i < key_count; i++) {
        uint8_t raw[SIGNATURE_SIZE];
        err = key_sign_ed25519(keys[i], buf_head(&bytes), buf_size(&bytes), raw);
        if (err == TP_OK) {
            char *signature = enc_base64(raw, sizeof(raw));
            (void)json_array_append_new(signatures, json_string(signature));
            mem_free(signature);
        }
    }
    if (err == TP_OK) {
        char *statement = enc_base64(text, strlen(text));
        (void)json_object_set_new(answer, "statement", json_string(statement));
        (void)json_object_set(answer, "signatures", signatures);
        mem_free(statement);
    }
    buf_free(&bytes);
    json_decref(signatures);
    mem_free(text);
    json_decref(said);
    return err;
}

/* The raw key of an "ssh-ed25519 AAAA..." line. */
static bool raw_key(const char *line, uint8_t out[32])
{
    static const char type[] = "ssh-ed25519";
    struct buf blob;
    struct rd rd;
    buf_init(&blob, 1024);
    bool good = sshcert_blob(line, &blob, NULL) == TP_OK;
    rd_init(&rd, buf_head(&blob), buf_size(&blob));
    const uint8_t *name = rd_u32(&rd) == sizeof(type) - 1 ? rd_bytes(&rd, sizeof(type) - 1) : NULL;
    const uint8_t *key = rd_u32(&rd) == 32 ? rd_bytes(&rd, 32) : NULL;
    good = good && name && memcmp(name, type, sizeof(type) - 1) == 0 && key && rd_done(&rd);
    if (good)
        memcpy(out, key, 32);
    buf_free(&blob);
    return good;
}

static bool signed_by(const json_t *signatures, const char *line, const struct buf *bytes)
{
    uint8_t key[32];
    size_t i;
    json_t *item;
    bool good = false;
    if (!raw_key(line, key))
        return false;
    json_array_foreach (signatures, i, item) {
        struct buf raw;
        const char *text = json_string_value(item);
        buf_init(&raw, SIGNATURE_SIZE);
        good = good || (text && dec_base64(text, strlen(text), &raw) == TP_OK && buf_size(&raw) == SIGNATURE_SIZE &&
                        key_verify_ed25519(key, buf_head(bytes), buf_size(bytes), buf_head(&raw)));
        buf_free(&raw);
    }
    return good;
}

static enum tp_err check_said(const json_t *said, const char *cluster, int64_t now, struct tp_error *error)
{
    int64_t issued = json_get_int(said, "issued", 0);
    if (strcmp(json_get_text(said, "cluster", ""), cluster) != 0)
        return err_set(error, TP_DENIED, "what the proxy says of its CAs was signed for another cluster");
    if (issued < now - STATEMENT_SECONDS || issued > now + STATEMENT_SECONDS)
        return err_set(
            error, TP_DENIED,
            "what the proxy says of its CAs was signed more than ten minutes %s; check that the clocks of the "
            "proxy and of this machine agree",
            issued < now ? "ago" : "from now");
    return TP_OK;
}

enum tp_err statement_open(const json_t *answer, const char *const *ca_lines, const char *cluster, int64_t now,
                           json_t **ret_said, struct tp_error *error)
{
    const char *statement = json_get_text(answer, "statement", NULL);
    const json_t *signatures = json_object_get(answer, "signatures");
    struct buf text;
    struct buf bytes;
    json_t *said = NULL;
    bool genuine = false;
    if (!statement)
        return err_set(error, TP_NOT_FOUND, "the proxy's answer is not signed");
    buf_init(&text, STATEMENT_MAX);
    bool readable = dec_base64(statement, strlen(statement), &text) == TP_OK;
    marked(&bytes, MARK, buf_head(&text), buf_size(&text));
    for (size_t i = 0; readable && json_array_size(signatures) <= SIGNATURES_MAX && ca_lines[i] && !genuine; i++)
        genuine = signed_by(signatures, ca_lines[i], &bytes);
    enum tp_err err = TP_OK;
    if (!genuine)
        err = err_set(error, TP_DENIED, "what the proxy says of its CAs was not signed by a CA that is trusted here");
    else if (json_parse_object(buf_head(&text), buf_size(&text), STATEMENT_MAX, &said, error) != TP_OK)
        err = err_set(error, TP_DENIED, "what the proxy says of its CAs is not readable");
    else
        err = check_said(said, cluster, now, error);
    buf_free(&text);
    buf_free(&bytes);
    if (err == TP_OK)
        *ret_said = said;
    else
        json_decref(said);
    return err;
}
