#include "crypt/sshcert_internal.h"

#include "base/enc.h"
#include "crypt/sshcert.h"

#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <stdlib.h>
#include <string.h>

#define RSA_MIN_BYTES 256
#define RSA_MAX_BYTES 2048

static const char *const plain_names[SSHCERT_KEY_COUNT] = {"ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"};
static const char *const cert_names[SSHCERT_KEY_COUNT] = {
    "ssh-ed25519-cert-v01@openssh.com", "ecdsa-sha2-nistp256-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com"};

const char *sshcert_plain_name(enum sshcert_key type)
{
    return plain_names[type];
}

const char *sshcert_cert_name(enum sshcert_key type)
{
    return cert_names[type];
}

enum tp_err sshcert_key_from_name(struct rd name, bool certificate, enum sshcert_key *ret_type)
{
    for (int i = 0; i < SSHCERT_KEY_COUNT; i++) {
        const char *wanted = certificate ? cert_names[i] : plain_names[i];
        if (rd_ok(&name) && name.left == strlen(wanted) && memcmp(name.at, wanted, name.left) == 0) {
            *ret_type = (enum sshcert_key)i;
            return TP_OK;
        }
    }
    return TP_INVALID;
}

static bool is_p256_point(const uint8_t *data, size_t size)
{
    EC_KEY *ec;
    bool fine;
    if (size != 65 || data[0] != 4)
        return false;
    ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    if (!ec)
        abort();
    fine = EC_KEY_oct2key(ec, data, size, NULL) == 1; /* checks that it is on the curve */
    EC_KEY_free(ec);
    ERR_clear_error();
    return fine;
}

/* A positive mpint without useless leading bytes. */
static bool is_positive(struct rd number)
{
    if (!rd_ok(&number) || number.left == 0 || (number.at[0] & 0x80))
        return false;
    return number.at[0] != 0 || (number.left > 1 && (number.at[1] & 0x80));
}

static bool is_rsa(struct rd exponent, struct rd modulus)
{
    size_t bytes = modulus.left;
    if (!is_positive(exponent) || !is_positive(modulus))
        return false;
    if (modulus.at[0] == 0)
        bytes--;
    /* The top bit decides: 2048 bits means that the 256th byte is at least 0x80. */
    if (bytes < RSA_MIN_BYTES || (bytes == RSA_MIN_BYTES && modulus.at[0] != 0) || bytes > RSA_MAX_BYTES)
        return false;
    if (!(modulus.at[modulus.left - 1] & 1) || !(exponent.at[exponent.left - 1] & 1))
        return false;
    return exponent.left <= 8 && !(exponent.left == 1 && exponent.at[0] < 3);
}

enum tp_err sshcert_key_fields(struct rd *rd, enum sshcert_key type, const uint8_t **ret_fields, size_t *ret_size)
{
    const uint8_t *start = rd->at;
    bool fine = false;
    if (type == SSHCERT_KEY_ED25519) {
        struct rd key = rd_string(rd);
        fine = rd_ok(&key) && key.left == 32;
    } else if (type == SSHCERT_KEY_P256) {
        struct rd curve = rd_string(rd);
        struct rd point = rd_string(rd);
        fine = rd_ok(&curve) && curve.left == 8 && memcmp(curve.at, "nistp256", 8) == 0 && rd_ok(&point) &&
               is_p256_point(point.at, point.left);
    } else {
        struct rd exponent = rd_string(rd);
        struct rd modulus = rd_string(rd);
        fine = is_rsa(exponent, modulus);
    }
    if (!fine || !rd_ok(rd))
        return TP_INVALID;
    *ret_fields = start;
    *ret_size = (size_t)(rd->at - start);
    return TP_OK;
}

enum tp_err sshcert_ed25519_blob(const uint8_t *blob, size_t size, uint8_t out[32])
{
    struct rd rd, key;
    enum sshcert_key type = SSHCERT_KEY_COUNT;
    rd_init(&rd, blob, size);
    if (sshcert_key_from_name(rd_string(&rd), false, &type) != TP_OK || type != SSHCERT_KEY_ED25519)
        return TP_INVALID;
    key = rd_string(&rd);
    if (!rd_ok(&key) || key.left != 32 || !rd_done(&rd))
        return TP_INVALID;
    memcpy(out, key.at, 32);
    return TP_OK;
}

enum tp_err sshcert_blob(const char *line, struct buf *out, struct tp_error *error)
{
    size_t type_length = strcspn(line, " \t\r\n");
    const char *word = line + type_length;
    size_t length;
    struct rd rd, name;
    struct buf blob;
    enum tp_err code;
    word += strspn(word, " \t");
    length = strcspn(word, " \t\r\n");
    buf_init(&blob, SSHCERT_MAX);
    code = length == 0 ? TP_INVALID : dec_base64(word, length, &blob);
    rd_init(&rd, buf_head(&blob), buf_size(&blob));
    name = rd_string(&rd);
    if (code == TP_OK && (!rd_ok(&name) || name.left != type_length || memcmp(name.at, line, type_length) != 0))
        code = TP_INVALID;
    if (code == TP_OK)
        code = buf_append(out, buf_head(&blob), buf_size(&blob));
    buf_free(&blob);
    return code == TP_OK ? TP_OK : err_set(error, code, "not an SSH public key line (\"TYPE BASE64 COMMENT\")");
}
