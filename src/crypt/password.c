#include "crypt/password.h"

#include "base/mem.h"
#include "crypt/key.h"
#include "crypt/password_common.h"

#include <argon2.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define ARGON2_MEMORY_KIB (19 * 1024)
#define ARGON2_PASSES 2
#define ARGON2_LANES 1
#define SALT_SIZE 16
#define HASH_SIZE 32
#define ENCODED_MAX 160

/* One UTF-8 character: its length, or 0 when it is malformed (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_character(const unsigned char *at, uint32_t *ret_code)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
    uint32_t code = length <= 1 ? at[0] : at[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = (code << 6) | (at[i] & 0x3f);
    }
    if (length > 1 && (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)))
        return 0;
    *ret_code = code;
    return length;
}

/* All characters the same, or each one the next of the one before. */
static bool is_monotone(const char *text)
{
    bool same = true, up = true, down = true;
    for (size_t i = 1; text[i]; i++) {
        same = same && text[i] == text[i - 1];
        up = up && text[i] == text[i - 1] + 1;
        down = down && text[i] == text[i - 1] - 1;
    }
    return same || up || down;
}

static bool is_common(const char *password)
{
    static const char *const common[] = {PASSWORD_COMMON_LIST};
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++) {
        if (strcasecmp(common[i], password) == 0)
            return true;
    }
    return is_monotone(password);
}

/* The user's name, also written twice or with digits and signs behind it. */
static bool is_name(const char *password, const char *user)
{
    size_t length = user ? strlen(user) : 0;
    size_t at = 0;
    if (length == 0)
        return false;
    while (strncasecmp(password + at, user, length) == 0)
        at += length;
    if (at == 0)
        return false;
    while (password[at] && !isalpha((unsigned char)password[at]) && (unsigned char)password[at] < 0x80)
        at++;
    return password[at] == '\0';
}

enum tp_err password_acceptable(const char *password, const char *user, struct tp_error *error)
{
    size_t characters = 0;
    if (strlen(password) > PASSWORD_MAX)
        return err_set(error, TP_INVALID, "the password is longer than %d bytes", PASSWORD_MAX);
    for (const unsigned char *at = (const unsigned char *)password; *at; characters++) {
        uint32_t code = 0;
        size_t length = utf8_character(at, &code);
        if (length == 0)
            return err_set(error, TP_INVALID, "the password is not valid UTF-8 text");
        if (code < 0x20 || (code >= 0x7f && code <= 0x9f))
            return err_set(error, TP_INVALID, "the password contains a control character");
        at += length;
    }
    if (characters < PASSWORD_MIN)
        return err_set(error, TP_INVALID, "the password must have at least %d characters", PASSWORD_MIN);
    if (is_name(password, user))
        return err_set(error, TP_INVALID, "the password is the user's name; choose another one");
    if (is_common(password))
        return err_set(error, TP_INVALID, "the password is one of the first that attackers try; choose another one");
    return TP_OK;
}

enum tp_err password_hash(const char *password, char **ret_hash)
{
    uint8_t salt[SALT_SIZE];
    char encoded[ENCODED_MAX];
    if (strlen(password) > PASSWORD_MAX)
        return TP_INVALID;
    crypt_random(salt, sizeof(salt));
    if (argon2id_hash_encoded(ARGON2_PASSES, ARGON2_MEMORY_KIB, ARGON2_LANES, password, strlen(password), salt,
                              sizeof(salt), HASH_SIZE, encoded, sizeof(encoded)) != ARGON2_OK)
        return TP_CRYPTO;
    *ret_hash = mem_strdup(encoded);
    return TP_OK;
}

/* The work of a check whose result is thrown away, so that an unknown user takes as long as a known one. */
static bool work_in_vain(const char *password, size_t size)
{
    static const uint8_t salt[SALT_SIZE] = {0x74, 0x70, 0x6f, 0x72, 0x74};
    uint8_t out[HASH_SIZE];
    (void)argon2id_hash_raw(ARGON2_PASSES, ARGON2_MEMORY_KIB, ARGON2_LANES, password, size, salt, sizeof(salt), out,
                            sizeof(out));
    secret_wipe(out, sizeof(out));
    return false;
}

bool password_verify(const char *password, const char *hash)
{
    size_t size = strlen(password);
    if (size > PASSWORD_MAX)
        return false;
    if (!hash)
        return work_in_vain(password, size);
    return argon2id_verify(hash, password, size) == ARGON2_OK;
}
