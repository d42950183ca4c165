/*
 * A client that wants something behind an agent: TLS with a user's certificate is done; auth is asked; its grant opens a
 * stream in a tunnel of the agent; from then on a relay carries bytes that nobody here reads.
 *
 *   ASKING --grant--> RELAYING --either end--> closed
 *      |                  +--cut: the client is heard no more--> LAST WORD --the agent's end, or 500 ms--> closed
 *      +--refused, target offline--> told in the words of its protocol (target_kind.refuse), closed
 *
 * What the kinds of targets share; ssh_front.c and kube_front.c hold the rest.
 */
#ifndef PROTOCOLS_TARGET_FRONT_H
#define PROTOCOLS_TARGET_FRONT_H

#include "protocols/worker_priv.h"

struct target_front;

struct target_kind {
    const char *stream;  /* kind of the tunnel stream: "ssh" */
    const char *method;  /* of auth: "ssh.connect"; params target, worker, and except (below) */
    bool hex;            /* target is a name in hex, or the digest of a long one */
    bool several;        /* another host may serve the same target: auth is asked again, with the ids that failed */
    bool last_word;      /* the agent tells people why they were cut (event session.cut); else a cut ends at once */
    const char *offline; /* sentence for a target whose agent has no tunnel here any more */
    /* Tells the person why, then closes the stream with reason. May set events of its own on the stream (front->stream is
     * front_stream); its on_close must then call target_front_closed. code: of auth's refusal, or what comes closest. */
    void (*refuse)(struct target_front *front, enum close_reason reason, enum tp_err code, const char *sentence);
    /* The agent did not take the stream: writes its sentence, nothing else; the stream is closed by the relay. */
    void (*say)(struct stream *stream, enum close_reason reason, const char *sentence);
};

/* Takes the stream over. target: what auth is asked for; copied. */
struct target_front *target_front_new(struct worker *worker, struct stream *stream, const struct peer *peer,
                                      const struct target_kind *kind, const char *target) TP_MUST;
/* Asks auth on behalf of the certificate of the stream. After target_front_new: this, or target_front_refuse. */
void target_front_ask(struct target_front *front);
void target_front_refuse(struct target_front *front, enum close_reason reason, enum tp_err code, const char *sentence);
/* How a connection ends that auth refused with this code. */
enum close_reason target_front_reason(enum tp_err code);
/* Calls back for each session that has a grant. */
struct term_report;
void target_front_each(const struct worker *worker, const struct term_report *report);
/* For refuse, in place of closing the stream: closes it half a second later. A client that has been greeted sends something
 * before it reads on, and must not fail in that. */
void target_front_linger(struct target_front *front, enum close_reason reason);
/* For refuse. */
struct stream *target_front_stream(const struct target_front *front);
const struct peer *target_front_peer(const struct target_front *front);
const char *target_front_target(const struct target_front *front);
/* The stream has closed; frees the front. For on_close of a refuse with events of its own. */
void target_front_closed(struct target_front *front, enum close_reason reason);

#endif
