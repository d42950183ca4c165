#include "crypt/password.h"

#include "base/buf.h"
#include "base/enc.h"
#include "base/mem.h"
#include "crypt/key.h"

#include <oath.h>
#include <stdio.h>
#include <string.h>

#define SECRET_BYTES 20
#define STEP 30
#define DIGITS 6

char *totp_new_secret(void)
{
    uint8_t raw[SECRET_BYTES];
    char *text;
    crypt_random(raw, sizeof(raw));
    text = enc_base32(raw, sizeof(raw));
    secret_wipe(raw, sizeof(raw));
    return text;
}

static bool code_at(const struct buf *secret, uint64_t step, const char *code)
{
    char expected[DIGITS + 1];
    bool same;
    int failed = oath_hotp_generate((const char *)buf_head(secret), buf_size(secret), step, DIGITS, false,
                                    OATH_HOTP_DYNAMIC_TRUNCATION, expected);
    same = failed == OATH_OK && secret_equal(expected, code, DIGITS);
    secret_wipe(expected, sizeof(expected));
    return same;
}

enum tp_err totp_check(const char *base32_secret, const char *code, int64_t now, int64_t *ret_step)
{
    struct buf secret;
    int64_t step = now / STEP;
    int64_t found = -1;
    buf_init(&secret, 256);
    if (dec_base32(base32_secret, strlen(base32_secret), &secret) != TP_OK || buf_size(&secret) < 10 || now < 0) {
        buf_wipe(&secret);
        return TP_INVALID;
    }
    if (strlen(code) == DIGITS && strspn(code, "0123456789") == DIGITS) {
        /* All three are computed, so that time does not tell which one matched. */
        for (int64_t at = step > 0 ? step - 1 : 0; at <= step + 1; at++) {
            if (code_at(&secret, (uint64_t)at, code))
                found = at;
        }
    }
    buf_wipe(&secret);
    if (found < 0)
        return TP_DENIED;
    *ret_step = found;
    return TP_OK;
}

/* RFC 3986 section 2.1: everything that is not unreserved becomes %XX. */
static void append_escaped(struct buf *out, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text; text++) {
        if (strchr(plain, *text))
            (void)buf_append(out, text, 1);
        else
            (void)buf_printf(out, "%%%02X", (unsigned char)*text);
    }
}

char *totp_uri(const char *base32_secret, const char *cluster, const char *user)
{
    struct buf out;
    char *uri;
    buf_init(&out, 0);
    (void)buf_append_text(&out, "otpauth://totp/");
    append_escaped(&out, cluster);
    (void)buf_append_text(&out, ":");
    append_escaped(&out, user);
    (void)buf_printf(&out, "?secret=%s&issuer=", base32_secret);
    append_escaped(&out, cluster);
    (void)buf_append_text(&out, "&algorithm=SHA1&digits=6&period=30");
    uri = mem_strdup(buf_text(&out));
    buf_wipe(&out);
    return uri;
}
