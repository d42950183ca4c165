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

enum tp_err grant_open(const uint8_t *data, size_t size, const uint8_t (*keys)[32], size_t key_count,
                       const char *host_id, const char *service, int64_t now, json_t **ret_grant,
                       struct tp_error *error)
{
    struct rd rd;
    const uint8_t *magic, *text, *signature;
    uint32_t text_size;
    bool genuine = false;
    json_t *grant;
    enum tp_err code;
    rd_init(&rd, data, size);
    magic = rd_bytes(&rd, 4);
    text_size = rd_u32(&rd);
    if (!magic || memcmp(magic, GRANT_MAGIC, 4) != 0 || text_size > GRANT_MAX)
        return err_set(error, TP_DENIED, "not a grant");
    text = rd_bytes(&rd, text_size);
    signature = rd_bytes(&rd, SIGNATURE_SIZE);
    if (!text || !signature || !rd_done(&rd))
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
