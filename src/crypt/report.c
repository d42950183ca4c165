#include "crypt/report.h"

#include "base/enc.h"
#include "base/mem.h"
#include "crypt/marked.h"

#include <string.h>

/* The key signs handshakes of TLS too, which begin with blanks (RFC 8446 section 4.4.3), never like this. */
#define MARK "tport-report-1\n"
#define REPORT_MAX ((size_t)4 * 1024 * 1024)
#define SIGNATURE_MAX 128

enum tp_err report_sign(json_t *params, const struct key *key, const char *host_id, const char *method, int64_t now_ms)
{
    char *public_pem = key_public_pem(key);
    json_t *whole = json_pack("{s:s, s:s, s:I, s:O}", "host_id", host_id, "method", method, "issued",
                              (json_int_t)now_ms, "params", params);
    char *text = json_text(whole);
    struct buf bytes;
    struct buf signature;
    marked(&bytes, MARK, text, strlen(text));
    buf_init(&signature, SIGNATURE_MAX);
    enum tp_err err = key_sign_p256(key, buf_head(&bytes), buf_size(&bytes), &signature);
    json_decref(whole);
    if (err == TP_OK) {
        char *report64 = enc_base64(text, strlen(text));
        char *signature64 = enc_base64(buf_head(&signature), buf_size(&signature));
        (void)json_object_set_new(params, "tls_pub_key", json_string(public_pem));
        (void)json_object_set_new(params, "report", json_string(report64));
        (void)json_object_set_new(params, "signature", json_string(signature64));
        mem_free(report64);
        mem_free(signature64);
    }
    buf_free(&bytes);
    buf_free(&signature);
    mem_free(text);
    mem_free(public_pem);
    return err;
}

static bool is_genuine(const json_t *params, const struct buf *text)
{
    const char *pem = json_get_text(params, "tls_pub_key", "");
    const char *signature64 = json_get_text(params, "signature", "");
    struct buf signature;
    struct buf bytes;
    buf_init(&signature, SIGNATURE_MAX);
    marked(&bytes, MARK, buf_head(text), buf_size(text));
    bool genuine = dec_base64(signature64, strlen(signature64), &signature) == TP_OK &&
                   key_verify_p256(pem, buf_head(&bytes), buf_size(&bytes), buf_head(&signature), buf_size(&signature));
    buf_free(&bytes);
    buf_free(&signature);
    return genuine;
}

enum tp_err report_open(const json_t *params, const char *host_id, const char *method, json_t **ret_params,
                        int64_t *ret_issued_ms, struct tp_error *error)
{
    const char *report64 = json_get_text(params, "report", NULL);
    struct buf text;
    json_t *whole = NULL;
    json_t *said = NULL;
    if (!report64)
        return err_set(error, TP_NOT_FOUND, "the report is not signed");
    buf_init(&text, REPORT_MAX);
    enum tp_err err = dec_base64(report64, strlen(report64), &text);
    if (err == TP_TOO_LARGE)
        (void)err_set(error, err,
                      "what this host says of itself is larger than %zu MB; give it fewer labels, or shorter ones",
                      REPORT_MAX >> 20);
    else if (err != TP_OK || !is_genuine(params, &text))
        err = err_set(error, TP_DENIED, "the report was not signed with the key that came with it");
    else if (json_parse_object(buf_head(&text), buf_size(&text), REPORT_MAX, &whole, error) != TP_OK ||
             json_need_object(whole, "params", &said, error) != TP_OK)
        err = err_set(error, TP_DENIED, "the report is not readable");
    else if (strcmp(json_get_text(whole, "host_id", ""), host_id) != 0 ||
             strcmp(json_get_text(whole, "method", ""), method) != 0)
        err = err_set(error, TP_DENIED, "the report was signed for something else");
    if (err == TP_OK) {
        *ret_params = json_incref(said);
        *ret_issued_ms = json_get_int(whole, "issued", 0);
    }
    json_decref(whole);
    buf_free(&text);
    return err;
}
