#include "audit/note.h"

#include "base/enc.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALGORITHM_ED25519 1
#define DASH "\xe2\x80\x94 " /* em dash and a blank begin a signature line */
#define SIGNATURE_BLOB (4 + 64)

bool note_name_ok(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > NOTE_NAME_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (name[i] <= ' ' || name[i] > '~' || name[i] == '+')
            return false;
    }
    return true;
}

/* The first four bytes of SHA-256(name, newline, algorithm, key). */
static void key_hash(const char *name, const uint8_t public_key[32], uint8_t out[4])
{
    static const uint8_t middle[2] = {'\n', ALGORITHM_ED25519};
    uint8_t hash[32];
    struct crypt_sha256_stream *stream = crypt_sha256_new();
    crypt_sha256_add(stream, name, strlen(name));
    crypt_sha256_add(stream, middle, sizeof(middle));
    crypt_sha256_add(stream, public_key, 32);
    crypt_sha256_finish(stream, hash);
    memcpy(out, hash, 4);
}

char *note_verifier_key(const char *name, const uint8_t public_key[32])
{
    uint8_t hash[4], blob[33];
    char *hex, *base64, *text;
    key_hash(name, public_key, hash);
    blob[0] = ALGORITHM_ED25519;
    memcpy(blob + 1, public_key, 32);
    hex = enc_hex(hash, sizeof(hash));
    base64 = enc_base64(blob, sizeof(blob));
    text = mem_printf("%s+%s+%s", name, hex, base64);
    mem_free(hex);
    mem_free(base64);
    return text;
}

enum tp_err note_parse_key(const char *text, struct note_key *ret_key, struct tp_error *error)
{
    struct note_key key = {0};
    struct buf hash, blob;
    const char *first = strchr(text, '+');
    const char *second = first ? strchr(first + 1, '+') : NULL;
    size_t length = second ? strcspn(second + 1, "\r\n") : 0;
    uint8_t wanted[4];
    bool fine = second && (size_t)(first - text) <= NOTE_NAME_MAX &&
                second[1 + length + strspn(second + 1 + length, "\r\n")] == '\0';
    buf_init(&hash, 16);
    buf_init(&blob, 64);
    if (fine) {
        memcpy(key.name, text, (size_t)(first - text));
        fine = note_name_ok(key.name) && dec_hex(first + 1, (size_t)(second - first - 1), &hash) == TP_OK &&
               dec_base64(second + 1, length, &blob) == TP_OK && buf_size(&hash) == 4 && buf_size(&blob) == 33 &&
               buf_head(&blob)[0] == ALGORITHM_ED25519;
    }
    if (fine) {
        memcpy(key.public_key, buf_head(&blob) + 1, 32);
        key_hash(key.name, key.public_key, wanted);
        fine = memcmp(wanted, buf_head(&hash), 4) == 0;
    }
    buf_free(&hash);
    buf_free(&blob);
    if (!fine)
        return err_set(error, TP_INVALID, "the verifier key is malformed; it looks like NAME+HASH+BASE64 on one line");
    *ret_key = key;
    return TP_OK;
}

char *note_sign_checkpoint(const struct key *key, const char *name, const struct checkpoint *checkpoint)
{
    uint8_t blob[SIGNATURE_BLOB], public_key[32];
    char *root = enc_base64(checkpoint->root, sizeof(checkpoint->root));
    char *body = mem_printf("%s\n%llu\n%s\n", name, (unsigned long long)checkpoint->size, root);
    char *signature, *text;
    if (key_ed25519_public(key, public_key) != TP_OK || key_sign_ed25519(key, body, strlen(body), blob + 4) != TP_OK)
        abort(); /* audit_log_open made sure of the key */
    key_hash(name, public_key, blob);
    signature = enc_base64(blob, sizeof(blob));
    text = mem_printf("%s\n" DASH "%s %s\n", body, name, signature);
    mem_free(signature);
    mem_free(body);
    mem_free(root);
    return text;
}

/* One line without its newline; NULL when there is no newline any more. */
static const char *next_line(const char **at, const char *end, size_t *ret_length)
{
    const char *line = *at;
    const char *newline = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
    if (!newline)
        return NULL;
    *ret_length = (size_t)(newline - line);
    *at = newline + 1;
    return line;
}

/* True when the line is a signature line; *ret_good when it is ours and right. */
static bool read_signature(const char *line, size_t length, const struct note_key *key, const char *body,
                           size_t body_size, bool *ret_good)
{
    size_t name_length = strlen(key->name);
    const char *blank;
    struct buf blob;
    uint8_t hash[4];
    bool formed;
    if (length < strlen(DASH) || memcmp(line, DASH, strlen(DASH)) != 0)
        return false;
    line += strlen(DASH);
    length -= strlen(DASH);
    blank = memchr(line, ' ', length);
    if (!blank || blank == line)
        return false;
    buf_init(&blob, NOTE_MAX);
    formed = dec_base64(blank + 1, length - (size_t)(blank + 1 - line), &blob) == TP_OK && buf_size(&blob) >= 5;
    key_hash(key->name, key->public_key, hash);
    if (formed && (size_t)(blank - line) == name_length && memcmp(line, key->name, name_length) == 0 &&
        memcmp(buf_head(&blob), hash, 4) == 0)
        *ret_good = buf_size(&blob) == SIGNATURE_BLOB &&
                    key_verify_ed25519(key->public_key, body, body_size, buf_head(&blob) + 4);
    buf_free(&blob);
    return formed;
}

/* A decimal number without leading zeros, as the line's only content. */
static bool read_size(const char *line, size_t length, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (length == 0 || length > 19 || (line[0] == '0' && length > 1))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (line[i] < '0' || line[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(line[i] - '0');
    }
    *ret_value = value;
    return true;
}

static enum tp_err read_body(const char *body, size_t size, const struct note_key *key, struct checkpoint *out,
                             struct tp_error *error)
{
    const char *at = body, *end = body + size, *line;
    size_t length = 0;
    struct buf root;
    bool fine;
    line = next_line(&at, end, &length);
    if (!line || length != strlen(key->name) || memcmp(line, key->name, length) != 0)
        return err_set(error, TP_CORRUPT, "the checkpoint is of another log, not of %s", key->name);
    line = next_line(&at, end, &length);
    if (!line || !read_size(line, length, &out->size))
        return err_set(error, TP_CORRUPT, "the checkpoint has no readable size");
    line = next_line(&at, end, &length);
    buf_init(&root, 64);
    fine = line && dec_base64(line, length, &root) == TP_OK && buf_size(&root) == MERKLE_HASH;
    if (fine)
        memcpy(out->root, buf_head(&root), MERKLE_HASH);
    buf_free(&root);
    return fine ? TP_OK : err_set(error, TP_CORRUPT, "the checkpoint has no readable root hash");
}

enum tp_err note_open_checkpoint(const uint8_t *text, size_t size, const struct note_key *key,
                                 struct checkpoint *ret_checkpoint, struct tp_error *error)
{
    const char *start = (const char *)text, *end = start + size, *at, *line;
    const char *split = NULL;
    size_t length = 0, body_size;
    bool good = false;
    struct checkpoint checkpoint = {0};
    enum tp_err code;
    if (size > NOTE_MAX)
        return err_set(error, TP_CORRUPT, "the checkpoint is too large to be one");
    /* The last empty line stands between the text and its signatures. */
    for (const char *p = start; p + 1 < end; p++) {
        if (p[0] == '\n' && p[1] == '\n')
            split = p;
    }
    if (!split || memchr(start, 0, size))
        return err_set(error, TP_CORRUPT, "the checkpoint is not a signed note");
    body_size = (size_t)(split + 1 - start);
    at = split + 2;
    if (at == end)
        return err_set(error, TP_CORRUPT, "the checkpoint has no signature");
    while (at < end) {
        bool this_one = false;
        line = next_line(&at, end, &length);
        if (!line || !read_signature(line, length, key, start, body_size, &this_one))
            return err_set(error, TP_CORRUPT, "a signature line of the checkpoint is malformed");
        good = good || this_one;
    }
    if (!good)
        return err_set(error, TP_CORRUPT, "the checkpoint has no valid signature of the key given");
    code = read_body(start, body_size, key, &checkpoint, error);
    if (code == TP_OK)
        *ret_checkpoint = checkpoint;
    return code;
}
