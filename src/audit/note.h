/* Checkpoints: C2SP tlog-checkpoint in a C2SP signed-note with one Ed25519 signature. */
#ifndef AUDIT_NOTE_H
#define AUDIT_NOTE_H

#include "audit/merkle.h"
#include "crypt/key.h"

#define NOTE_MAX ((size_t)64 * 1024)
#define NOTE_NAME_MAX 200
#define CHECKPOINT_FILE "checkpoint" /* in the folder of the tree */

struct note_key {
    char name[NOTE_NAME_MAX + 1]; /* the log's origin */
    uint8_t public_key[32];
};

struct checkpoint {
    uint64_t size;
    uint8_t root[MERKLE_HASH];
};

/* A name that may stand in a note: not empty, no white space, no '+', printable ASCII. */
bool note_name_ok(const char *name) TP_MUST;
/* "NAME+8 hex+base64" of the public half; mem_free it. */
char *note_verifier_key(const char *name, const uint8_t public_key[32]) TP_MUST;
/* Reads it; TP_INVALID when it is malformed or its hash does not fit. */
enum tp_err note_parse_key(const char *text, struct note_key *ret_key, struct tp_error *error) TP_MUST;
/* The signed checkpoint as text; mem_free it. key must be Ed25519. */
char *note_sign_checkpoint(const struct key *key, const char *name, const struct checkpoint *checkpoint) TP_MUST;
/* Parses a signed checkpoint strictly and checks the signature of key. Signatures of other keys (witnesses) may stand
 * beside it. TP_CORRUPT with a sentence otherwise. */
enum tp_err note_open_checkpoint(const uint8_t *text, size_t size, const struct note_key *key,
                                 struct checkpoint *ret_checkpoint, struct tp_error *error) TP_MUST;

#endif
