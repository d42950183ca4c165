/* Passwords (argon2id, libargon2) and one-time codes (RFC 6238, liboath: SHA-1, 6 digits, 30 s). */
#ifndef CRYPT_PASSWORD_H
#define CRYPT_PASSWORD_H

#include "base/err.h"

#define PASSWORD_MIN 12   /* characters */
#define PASSWORD_MAX 1024 /* bytes; longer ones are refused, never cut */

/* Length, valid UTF-8 without control characters, not in the built-in list of common passwords, not the user's name.
 * TP_INVALID with a sentence for the person. */
enum tp_err password_acceptable(const char *password, const char *user, struct tp_error *error) TP_MUST;
/* The encoded hash ($argon2id$...); mem_free it. Takes some 30 ms and 19 MiB: call it on the thread pool. */
enum tp_err password_hash(const char *password, char **ret_hash) TP_MUST;
/* True when it matches. hash NULL: works as long as a real check and returns false (unknown users). Thread pool too. */
bool password_verify(const char *password, const char *hash) TP_MUST;

/* 20 random bytes as base32 without padding; secret_free it. */
char *totp_new_secret(void) TP_MUST;
/* Checks code (exactly 6 digits) at now with one step of skew either way; ret_step is the matching time step (now / 30),
 * for refusing a second use. TP_DENIED when it does not match, TP_INVALID for a broken secret. */
enum tp_err totp_check(const char *base32_secret, const char *code, int64_t now, int64_t *ret_step) TP_MUST;
/* otpauth://totp/CLUSTER:USER?secret=...&issuer=CLUSTER&algorithm=SHA1&digits=6&period=30; secret_free it. */
char *totp_uri(const char *base32_secret, const char *cluster, const char *user) TP_MUST;

#endif
