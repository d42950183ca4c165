/*
 * Results. Every function that can fail returns enum tp_err and must be looked at. TP_OK is the only success.
 *
 * The list is closed: its names are also the "code" of an RPC error and choose the HTTP status.
 * A struct tp_error adds one sentence for people: it names the thing that is wrong and the way out.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(symbol, wire name, HTTP status, default text) */
#define TP_ERR_LIST(X)                                                                   \
    X(OK, "ok", 200, "ok")                                                               \
    X(INVALID, "bad_parameter", 400, "the input is not valid")                           \
    X(UNAUTHENTICATED, "unauthenticated", 401, "sign in first")                          \
    X(DENIED, "access_denied", 403, "access denied")                                     \
    X(NOT_FOUND, "not_found", 404, "not found")                                          \
    X(EXISTS, "already_exists", 409, "it exists already")                                \
    X(CONFLICT, "compare_failed", 412, "it was changed by someone else in the meantime") \
    X(TOO_LARGE, "too_large", 413, "it is too large")                                    \
    X(LIMIT, "limit_exceeded", 429, "too many attempts, try again later")                \
    X(EXPIRED, "expired", 403, "it has expired")                                         \
    X(MFA_NEEDED, "mfa_needed", 403, "this session needs your second factor")            \
    X(AMBIGUOUS, "ambiguous", 400, "the name matches more than one thing")               \
    X(UNAVAILABLE, "unavailable", 503, "it is not available now")                        \
    X(TIMEOUT, "timeout", 504, "it took too long")                                       \
    X(IO, "io", 500, "input or output failed")                                           \
    X(NO_SPACE, "no_space", 507, "the disk is full")                                     \
    X(CORRUPT, "corrupt", 500, "the stored data is damaged")                             \
    X(CLOSED, "closed", 503, "the connection is closed")                                 \
    X(AGAIN, "again", 503, "not yet")                                                    \
    X(PROTOCOL, "protocol", 400, "the peer broke the protocol")                          \
    X(CRYPTO, "crypto", 500, "a cryptographic operation failed")                         \
    X(INTERNAL, "internal", 500, "an internal error, see the log")

enum tp_err {
#define X(symbol, wire, http, text) TP_##symbol,
    TP_ERR_LIST(X)
#undef X
};

#define TP_MUST __attribute__((warn_unused_result))
#define TP_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))

/* One failure with its sentence. Zero-initialise it; a function writes it only when it fails. */
struct tp_error {
    enum tp_err code;
    char text[768];
};

/* The wire name, for example "not_found". Never NULL; unknown values give "internal". */
const char *err_name(enum tp_err code);
/* The default sentence. Never NULL. */
const char *err_text(enum tp_err code);
/* The HTTP status that goes with the code. */
int err_http(enum tp_err code);
/* The code of a wire name; TP_INTERNAL for an unknown name. */
enum tp_err err_from_name(const char *name);

/*
 * Writes code and sentence into error (which may be NULL) and returns code, so that a function can end with
 * return err_set(error, TP_INVALID, "...").
 */
enum tp_err err_set(struct tp_error *error, enum tp_err code, const char *format, ...) TP_PRINTF(3, 4);
/* The same for errno-style failures: maps errno to a code (ENOSPC to TP_NO_SPACE, ENOENT to TP_NOT_FOUND, ...) and
 * appends strerror(errno_value) after ": ". */
enum tp_err err_errno(struct tp_error *error, int errno_value, const char *format, ...) TP_PRINTF(3, 4);
/* Puts "prefix: " in front of the sentence that error holds. Keeps the code. */
void err_prefix(struct tp_error *error, const char *format, ...) TP_PRINTF(2, 3);

#endif
