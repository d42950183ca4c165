/*
 * The GSSAPI functions that the distribution's libssh.a refers to, all of which fail. Kerberos logins are not offered
 * here; without these the program would load four Kerberos libraries for code that strangers could reach before they
 * have signed in. Only the status word matters to the callers, so each takes just the first argument.
 */
#include <stdint.h>

#define GSS_FAILURE ((uint32_t)13 << 16) /* GSS_S_FAILURE of RFC 2744 */

#define REFUSE(name)                \
    uint32_t name(uint32_t *minor); \
    uint32_t name(uint32_t *minor)  \
    {                               \
        *minor = 0;                 \
        return GSS_FAILURE;         \
    }

extern const void *const GSS_C_NT_HOSTBASED_SERVICE;
extern const void *const GSS_C_NT_USER_NAME;
const void *const GSS_C_NT_HOSTBASED_SERVICE = 0;
const void *const GSS_C_NT_USER_NAME = 0;

REFUSE(gss_accept_sec_context)
REFUSE(gss_acquire_cred)
REFUSE(gss_add_oid_set_member)
REFUSE(gss_create_empty_oid_set)
REFUSE(gss_display_name)
REFUSE(gss_display_status)
REFUSE(gss_get_mic)
REFUSE(gss_import_name)
REFUSE(gss_indicate_mechs)
REFUSE(gss_init_sec_context)
REFUSE(gss_inquire_cred)
REFUSE(gss_inquire_cred_by_mech)
REFUSE(gss_release_buffer)
REFUSE(gss_release_cred)
REFUSE(gss_release_name)
REFUSE(gss_release_oid_set)
REFUSE(gss_test_oid_set_member)
REFUSE(gss_verify_mic)

/* Stands in front of libssh's handler of "gssapi-with-mic" (ld --wrap): the method is refused before any of it runs. */
struct ssh_session_struct;
struct ssh_string_struct;
int ssh_auth_reply_default(struct ssh_session_struct *session, int partial);
int __wrap_ssh_gssapi_handle_userauth(struct ssh_session_struct *session, const char *user, uint32_t count,
                                      struct ssh_string_struct **oids);
int __wrap_ssh_gssapi_handle_userauth(struct ssh_session_struct *session, const char *user, uint32_t count,
                                      struct ssh_string_struct **oids)
{
    (void)user;
    (void)count;
    (void)oids;
    return ssh_auth_reply_default(session, 0);
}
