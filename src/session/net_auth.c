/* Signing in: only a certificate, only with its signature, and only the agent (behind the monitor) says yes. */
#include "base/log.h"
#include "session/net_priv.h"
#include "session/order.h"

#include <string.h>

#define OFFERS_MAX 24 /* keys of an agent that a client may show before it signs */

static void refuse(struct net *net, ssh_message message)
{
    (void)ssh_message_reply_default(message);
    ssh_message_free(message);
    if (++net->auth_tries >= ORDER_AUTH_TRIES) {
        log_info("too many attempts to sign in", "");
        net_close(net, CLOSE_ACCESS_DENIED, NULL);
    }
}

static void on_answer(void *ctx, json_t *result, const struct tp_error *error)
{
    struct net *net = ctx;
    ssh_message message = net->auth_message;
    net->auth_message = NULL;
    if (net->phase != NET_AUTH_ASKING || message == NULL) {
        return;
    }
    net_wake(net);
    net->phase = NET_AUTH;
    if (error != NULL) {
        refuse(net, message);
        return;
    }
    if (ssh_message_auth_reply_success(message, 0) != SSH_OK) {
        ssh_message_free(message);
        net_close(net, CLOSE_IO_ERROR, NULL);
        return;
    }
    ssh_message_free(message);
    net->settings.rights.forward_agent = json_get_bool(result, "forward_agent", false);
    net->phase = NET_OPEN;
    timer_stop(net->deadline);
    net_activity(net);
}

static bool login_is_sane(const char *login)
{
    size_t size = login == NULL ? 0 : strlen(login);
    if (size == 0 || size > 128) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)login[i] <= ' ' || (unsigned char)login[i] >= 0x7f || login[i] == '/' || login[i] == ':') {
            return false;
        }
    }
    return true;
}

static bool key_is_certificate(ssh_key key)
{
    switch (ssh_key_type(key)) {
    case SSH_KEYTYPE_ED25519_CERT01:
    case SSH_KEYTYPE_ECDSA_P256_CERT01:
    case SSH_KEYTYPE_RSA_CERT01:
        return true;
    default:
        return false;
    }
}

static void ask(struct net *net, ssh_message message)
{
    char *cert = NULL;
    if (ssh_pki_export_pubkey_base64(ssh_message_auth_pubkey(message), &cert) != SSH_OK || cert == NULL) {
        refuse(net, message);
        return;
    }
    net->auth_message = message;
    net->auth_tries++;
    net->phase = NET_AUTH_ASKING;
    json_t *params = json_pack("{s:s, s:s}", "login", ssh_message_auth_user(message), "cert", cert);
    ssh_string_free_char(cert);
    (void)rpc_request(net->monitor, "auth", params, NULL, 8000, on_answer, net);
}

void net_auth_message(struct net *net, ssh_message message)
{
    if (net->phase != NET_AUTH || ssh_message_subtype(message) != SSH_AUTH_METHOD_PUBLICKEY) {
        if (ssh_message_subtype(message) == SSH_AUTH_METHOD_NONE && net->auth_tries == 0 && net->phase == NET_AUTH) {
            (void)ssh_message_reply_default(message); /* how every client asks what is offered */
            ssh_message_free(message);
            return;
        }
        refuse(net, message);
        return;
    }
    ssh_key key = ssh_message_auth_pubkey(message);
    if (key == NULL || !key_is_certificate(key) || !login_is_sane(ssh_message_auth_user(message))) {
        refuse(net, message);
        return;
    }
    switch (ssh_message_auth_publickey_state(message)) {
    case SSH_PUBLICKEY_STATE_NONE: /* an offer is not a proof (R7): "go on and sign", nothing else */
        (void)ssh_message_auth_reply_pk_ok_simple(message);
        ssh_message_free(message);
        if (++net->auth_offers >= OFFERS_MAX) {
            net_close(net, CLOSE_ACCESS_DENIED, NULL);
        }
        break;
    case SSH_PUBLICKEY_STATE_VALID:
        ask(net, message);
        break;
    default:
        refuse(net, message);
        break;
    }
}
