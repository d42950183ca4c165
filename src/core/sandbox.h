/*
 * What a process may still ask of the kernel once it is set up: no new privileges, resource limits and a seccomp filter.
 * One table row per role (sandbox.c). Sanitized builds keep no-new-privs only: the sanitizers need more calls.
 */
#ifndef CORE_SANDBOX_H
#define CORE_SANDBOX_H

#include "base/err.h"

#include <sys/types.h>

enum sandbox_role {
    SANDBOX_WORKER, /* allow-list: sockets it was given, memory, time; no files, no programs, no new sockets */
    SANDBOX_AUTH    /* files and sockets it was given; no programs, no network, no tracing */
};

/* For life. TP_UNAVAILABLE with a sentence when the kernel has no seccomp; the caller decides whether to go on. */
enum tp_err sandbox_enter(enum sandbox_role role, struct tp_error *error) TP_MUST;
/* For life: no program that is started from here gains rights (sudo, set-user-id files). */
enum tp_err sandbox_no_new_privileges(struct tp_error *error) TP_MUST;
/* Becomes user (and its groups) for good when we are root and user is not empty. TP_NOT_FOUND when there is no such user. */
enum tp_err sandbox_become(const char *user, struct tp_error *error) TP_MUST;
/* The same for whom something belongs to: uid with the groups that the system knows for it, or gid alone when it knows no such
 * user. */
enum tp_err sandbox_become_owner(uid_t uid, gid_t gid, struct tp_error *error) TP_MUST;

#endif
