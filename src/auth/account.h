/* What a person sees and changes about himself: devices of codes, password, web sessions (docs/protocol-rpc.md, account.*). */
#ifndef AUTH_ACCOUNT_H
#define AUTH_ACCOUNT_H

#include <stddef.h>

struct auth;
struct call;

/* account_devices.c */
void do_account_devices(struct call *call);
void do_account_device_new(struct call *call);
void do_account_device_add(struct call *call);
void do_account_device_rename(struct call *call);
void do_account_device_rm(struct call *call);
void do_account_password(struct call *call);

/* websess.c */
void do_account_sessions(struct call *call);
void do_account_session_end(struct call *call);
/* Ends all web sessions of a user but the current one (its key; NULL: all), and their terminals. Returns how many. */
size_t websess_end_others(struct auth *auth, const char *user, const char *current, const char *why);

#endif
