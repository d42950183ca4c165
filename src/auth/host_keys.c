/*
 * The keys that a host registered with. Its id belongs to them: neither a token nor a renewal puts others in their place. A
 * renewal comes through a worker, which could ask for a certificate of a key of its own and read along in every session (R4).
 */
#include "auth/hosts.h"
#include "auth/inner.h"

#include <string.h>

/* Of "TYPE KEY comment" the key. */
static void ssh_hash(const char *line, char out[HASH_TEXT_SIZE])
{
    const char *key = line + strcspn(line, " ");
    key += strspn(key, " ");
    char *word = mem_strndup(key, strcspn(key, " \r\n"));
    doc_hash(word, out);
    mem_free(word);
}

void host_keys_note(json_t *doc, const char *tls_pub, const char *ssh_pub)
{
    char hash[HASH_TEXT_SIZE];
    doc_hash(tls_pub, hash);
    (void)json_object_set_new(doc, "key", json_string(hash));
    ssh_hash(ssh_pub, hash);
    (void)json_object_set_new(doc, "ssh_key", json_string(hash));
}

enum tp_err host_keys_check(struct auth *auth, const char *id, const json_t *params, bool *ret_same,
                            struct tp_error *error)
{
    json_t *doc = NULL;
    char tls[HASH_TEXT_SIZE];
    char ssh[HASH_TEXT_SIZE];
    *ret_same = true;
    enum tp_err err = doc_find(auth->state, "/host/", id, &doc, NULL, error);
    if (err == TP_NOT_FOUND) {
        return TP_OK;
    }
    if (err == TP_OK) {
        doc_hash(json_get_text(params, "tls_pub_key", ""), tls);
        ssh_hash(json_get_text(params, "ssh_pub_key", ""), ssh);
        /* Who registered when SSH keys were not noted yet has his noted with the next renewal. */
        *ret_same =
            strcmp(tls, json_get_text(doc, "key", "")) == 0 && strcmp(ssh, json_get_text(doc, "ssh_key", ssh)) == 0;
        json_decref(doc);
    }
    return err;
}
