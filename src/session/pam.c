#include "session/pam.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

struct pam {
    pam_handle_t *handle;
    struct buf text;
    int status;
    bool session_open;
    bool credentials;
};

/* Modules may speak but not ask: there is nobody to answer at this point. */
static int converse(int count, const struct pam_message **messages, struct pam_response **ret_answers, void *ctx)
{
    struct pam *pam = ctx;
    if (count <= 0 || count > PAM_MAX_NUM_MSG) {
        return PAM_CONV_ERR;
    }
    for (int i = 0; i < count; i++) {
        if (messages[i]->msg_style != PAM_TEXT_INFO && messages[i]->msg_style != PAM_ERROR_MSG) {
            return PAM_CONV_ERR;
        }
        (void)buf_printf(&pam->text, "%s\n", messages[i]->msg == NULL ? "" : messages[i]->msg);
    }
    *ret_answers = calloc((size_t)count, sizeof(struct pam_response)); /* libpam frees it with free */
    return *ret_answers == NULL ? PAM_BUF_ERR : PAM_SUCCESS;
}

static enum tp_err fail(struct pam *pam, const char *what, struct tp_error *error)
{
    enum tp_err err = err_set(error, TP_DENIED, "PAM refused (%s): %s", what, pam_strerror(pam->handle, pam->status));
    pam_close(pam);
    return err;
}

/* Begins, and asks the account modules. */
static enum tp_err begin(const char *service, const char *login, const char *remote_host, const char *tty,
                         struct pam **ret_pam, struct tp_error *error)
{
    struct pam *pam = mem_alloc(sizeof(*pam));
    struct pam_conv talk = {converse, pam};
    buf_init(&pam->text, 16 * 1024);
    pam->status = pam_start(service, login, &talk, &pam->handle);
    if (pam->status != PAM_SUCCESS) {
        pam->handle = NULL;
        pam_close(pam);
        return err_set(error, TP_INTERNAL, "PAM could not start the service %s", service);
    }
    (void)pam_set_item(pam->handle, PAM_RHOST, remote_host);
    (void)pam_set_item(pam->handle, PAM_TTY, tty != NULL ? tty : "ssh");
    pam->status = pam_acct_mgmt(pam->handle, 0);
    if (pam->status != PAM_SUCCESS) {
        return fail(pam, "account", error);
    }
    *ret_pam = pam;
    return TP_OK;
}

enum tp_err pam_account(const char *service, const char *login, const char *remote_host, struct tp_error *error)
{
    struct pam *pam = NULL;
    enum tp_err err = begin(service, login, remote_host, NULL, &pam, error);
    if (err == TP_OK) {
        pam_close(pam);
    }
    return err;
}

enum tp_err pam_open(const char *service, const char *login, const char *remote_host, const char *tty,
                     struct environment *env, struct pam **ret_pam, struct tp_error *error)
{
    struct pam *pam = NULL;
    enum tp_err err = begin(service, login, remote_host, tty, &pam, error);
    if (err != TP_OK) {
        return err;
    }
    pam->status = pam_setcred(pam->handle, PAM_ESTABLISH_CRED | PAM_SILENT);
    if (pam->status != PAM_SUCCESS) {
        return fail(pam, "credentials", error);
    }
    pam->credentials = true;
    pam->status = pam_open_session(pam->handle, 0);
    if (pam->status != PAM_SUCCESS) {
        return fail(pam, "session", error);
    }
    pam->session_open = true;
    char **list = pam_getenvlist(pam->handle);
    for (char **item = list; item != NULL && *item != NULL; item++) {
        char *equals = strchr(*item, '=');
        if (equals != NULL && strncmp(*item, "LD_", 3) != 0) {
            *equals = '\0';
            environment_set(env, *item, equals + 1);
        }
        free(*item);
    }
    free(list);
    *ret_pam = pam;
    return TP_OK;
}

const char *pam_messages(struct pam *pam)
{
    return buf_text(&pam->text);
}

void pam_close(struct pam *pam)
{
    if (pam == NULL) {
        return;
    }
    if (pam->session_open) {
        pam->status = pam_close_session(pam->handle, PAM_SILENT);
    }
    if (pam->credentials) {
        (void)pam_setcred(pam->handle, PAM_DELETE_CRED | PAM_SILENT);
    }
    if (pam->handle != NULL) {
        (void)pam_end(pam->handle, pam->status);
    }
    buf_free(&pam->text);
    mem_free(pam);
}
