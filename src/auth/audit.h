/* Events on their way into the audit log: each is on the disk before whoever waits for it hears so. */
#ifndef AUTH_AUDIT_H
#define AUTH_AUDIT_H

#include "audit/audit_log.h"
#include "base/err.h"
#include "base/json.h"

struct auth;

#define AUDIT_SOON_MS 20

typedef void audit_done_cb(void *ctx, const struct tp_error *error);
enum tp_err audit_open(struct auth *auth, struct tp_error *error) TP_MUST;
void audit_close(struct auth *auth);
/* Records an event (stolen). done (may be NULL) is called once, never inside this call: error is NULL when the event is
 * on the disk. An event without done that could not be written is tried again. */
void audit_emit(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx);
/* The same for what has happened, so nobody waits for the answer: it is written together with others, the next event of
 * audit_emit at the latest, or after AUDIT_SOON_MS. One fsync is for many then. */
void audit_emit_soon(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx);
/* The same for what can't be refused any more: an event that could not be written is tried again, though done hears of
 * the failure. */
void audit_emit_kept(struct auth *auth, json_t *event, audit_done_cb *done, void *ctx);
/* TP_OK while the audit log can be written, else the refusal that every access and every change gets. */
enum tp_err audit_ready(const struct auth *auth, struct tp_error *error) TP_MUST;
/* Bytes of all events so far: how much of them a call was can be seen before and after it. */
uint64_t audit_written(const struct auth *auth);
/* Half of what may wait for the disk waits: the rest is for people. */
bool audit_is_behind(const struct auth *auth);
/* TP_OK while the disk has room for what hosts report, else the refusal of that and of new sessions (auth/space.h). */
enum tp_err audit_room(const struct auth *auth, struct tp_error *error) TP_MUST;
/* Once a second: publishes and, after a failure or while the disk is nearly full, tries whether that is over. */
void audit_tick(struct auth *auth);
/* Nothing waits to be written. */
bool audit_idle(const struct auth *auth);
/* The directory of the log. */
const char *audit_dir(const struct auth *auth);
const struct audit_log *audit_log_of(const struct auth *auth);

#endif
