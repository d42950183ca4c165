#include "crypt/grant.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/wire.h"

#include <string.h>

#define GRANT_MAGIC "TPG1"
#define GRANT_MAX ((size_t)1024 * 1024)
#define GRANT_VERSION 1
#define SIGNATURE_SIZE 64

enum tp_err grant_sign(const struct key *key, const json_t *grant, struct buf *out)
{
    char *text = json_text(grant);
    size_t size = strlen(text);
    struct buf whole;
    uint8_t signature[SIGNATURE_SIZE];
    enum tp_err code = size > GRANT_MAX ? TP_TOO_LARGE : TP_OK;
    buf_init(&whole, 0);
    if (code == TP_OK) {
        wr_bytes(&whole, GRANT_MAGIC, 4);
        wr_u32(&whole, (uint32_t)size);
        wr_bytes(&whole, text, size);
        code = key_sign_ed25519(key, buf_head(&whole), buf_size(&whole), signature);
    }
    if (code == TP_OK) {
        wr_bytes(&whole, signature, sizeof(signature));
        code = buf_append(out, buf_head(&whole), buf_size(&whole));
    }
    buf_free(&whole);
    mem_free(text);
    return code;
}

static enum tp_err check_content(const json_t *grant, const char *host_id, const char *service, int64_t now,
                                 struct tp_error *error)
{
    const char *text;
    int64_t version, expires_ms;
    enum tp_err code = json_need_int(grant, "v", &version, error);
    if (code == TP_OK && version != GRANT_VERSION)
        code = err_set(error, TP_DENIED, "the grant has a version that is not known here; update this agent");
    if (code == TP_OK)
        code = json_need_text(grant, "host_id", &text, error);
    if (code == TP_OK && strcmp(text, host_id) != 0)
        code = err_set(error, TP_DENIED, "the grant is for another host");
    if (code == TP_OK)
        code = json_need_text(grant, "service", &text, error);
    if (code == TP_OK && strcmp(text, service) != 0)
        code = err_set(error, TP_DENIED, "the grant is for another service");
    if (code == TP_OK)
        code = json_need_text(grant, "expires", &text, error);
    if (code == TP_OK && clock_parse_ms(text, &expires_ms) != TP_OK)
        code = err_set(error, TP_DENIED, "the grant's end is not readable");
    if (code == TP_OK && expires_ms <= now * 1000)
        code = err_set(error, TP_DENIED, "the grant has expired; check that the clocks of proxy and agent agree");
    if (code != TP_OK && code != TP_DENIED) {
        code = TP_DENIED;
        if (error)
            error->code = TP_DENIED;
    }
    return code;
}

/* Takes its three parts apart; false: not a grant. */
static bool parts(const uint8_t *data, size_t size, const uint8_t **ret_text, uint32_t *ret_text_size,
                  const uint8_t **ret_signature)
{
    struct rd rd;
    const uint8_t *magic;
    rd_init(&rd, data, size);
    magic = rd_bytes(&rd, 4);
    *ret_text_size = rd_u32(&rd);
    if (!magic || memcmp(magic, GRANT_MAGIC, 4) != 0 || *ret_text_size > GRANT_MAX)
        return false;
    *ret_text = rd_bytes(&rd, *ret_text_size);
    *ret_signature = rd_bytes(&rd, SIGNATURE_SIZE);
    return *ret_text && *ret_signature && rd_done(&rd);
}

enum tp_err grant_peek(const uint8_t *data, size_t size, json_t **ret_grant)
{
    const uint8_t *text, *signature;
    uint32_t text_size;
    return parts(data, size, &text, &text_size, &signature)
               ? json_parse_object(text, text_size, GRANT_MAX, ret_grant, NULL)
               : TP_INVALID;
}

enum tp_err grant_open(const uint8_t *data, size_t size, const uint8_t (*keys)[32], size_t key_count,
                       const char *host_id, const char *service, int64_t now, json_t **ret_grant,
                       struct tp_error *error)
{
    const uint8_t *text, *signature;
    uint32_t text_size;
    bool genuine = false;
    json_t *grant;
    enum tp_err code;
    if (!parts(data, size, &text, &text_size, &signature))
        return err_set(error, TP_DENIED, "not a grant");
    for (size_t i = 0; i < key_count && !genuine; i++)
        genuine = key_verify_ed25519(keys[i], data, size - SIGNATURE_SIZE, signature);
    if (!genuine)
        return err_set(error, TP_DENIED, "the grant was not signed by the cluster's auth");
    if (json_parse_object(text, text_size, GRANT_MAX, &grant, error) != TP_OK)
        return err_set(error, TP_DENIED, "the grant is not readable");
    code = check_content(grant, host_id, service, now, error);
    if (code != TP_OK) {
        json_decref(grant);
        return code;
    }
    *ret_grant = grant;
    return TP_OK;
}
