/* tportctl auth sign: keys are made here, certificates come from auth, files are written in the form that was asked for. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/mem.h"
#include "base/node.h"
#include "cli/common/file.h"
#include "cli/common/output.h"
#include "cli/common/sni.h"
#include "cli/tportctl/tportctl.h"
#include "crypt/key.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)256 * 1024)

/* Everything that files are made of. */
struct bundle {
    const char *who; /* user or first host name */
    bool host;
    char *ssh_private, *tls_private; /* secret */
    char *ssh_public, *tls_public;
    const char *ssh_cert, *tls_cert, *cluster; /* of result */
    struct buf cas;                            /* PEM */
    struct buf authorities;                    /* lines of known_hosts */
    json_t *result;
};

static void bundle_free(struct bundle *bundle)
{
    secret_free(bundle->ssh_private);
    secret_free(bundle->tls_private);
    mem_free(bundle->ssh_public);
    mem_free(bundle->tls_public);
    buf_free(&bundle->cas);
    buf_free(&bundle->authorities);
    json_decref(bundle->result);
}

static void make_keys(struct bundle *bundle)
{
    struct key *ssh = key_generate(KEY_ED25519);
    struct key *tls = key_generate(KEY_P256);
    bundle->ssh_private = key_to_openssh(ssh, bundle->who);
    bundle->ssh_public = key_public_ssh(ssh, NULL);
    bundle->tls_private = key_to_pem(tls);
    bundle->tls_public = key_public_pem(tls);
    key_free(ssh);
    key_free(tls);
}

/* The CAs that whoever uses the files must trust. */
static enum tp_err read_signers(struct bundle *bundle, struct tp_error *error)
{
    size_t index, inner;
    json_t *signer, *item;
    enum tp_err err = TP_OK;
    json_array_foreach (json_object_get(bundle->result, "host_signers"), index, signer) {
        json_array_foreach (json_object_get(signer, "tls_certs"), inner, item) {
            const char *text = json_is_string(item) ? json_string_value(item) : "";
            if (err == TP_OK)
                err = dec_base64(text, strlen(text), &bundle->cas);
        }
        json_array_foreach (json_object_get(signer, "checking_keys"), inner, item)
            (void)buf_printf(&bundle->authorities, "@cert-authority *.%s %s type=host\n", bundle->cluster,
                             json_is_string(item) ? json_string_value(item) : "");
    }
    return err == TP_OK ? TP_OK : err_set(error, TP_PROTOCOL, "the CA came in a form that can't be read");
}

static enum tp_err ask(const struct command_line *line, struct bundle *bundle, const char *names, int64_t ttl_ms,
                       struct tp_error *error)
{
    struct api *api = NULL;
    enum tp_err err = tportctl_open(line, &api, NULL, error);
    if (err == TP_OK && !api_is_local(api)) {
        api_close(api);
        return err_set(
            error, TP_DENIED,
            "auth sign makes certificates on the admin socket only: run it as root on the machine of the auth "
            "service, without --auth-server and --identity");
    }
    if (err != TP_OK)
        return err;
    json_t *params = json_pack("{s:s, s:s}", "tls_pub_key", bundle->tls_public, "ssh_pub_key", bundle->ssh_public);
    if (bundle->host)
        (void)json_object_set_new(params, "names", output_split(names));
    else
        (void)json_object_set_new(params, "user", json_string(bundle->who));
    if (ttl_ms > 0)
        (void)json_object_set_new(params, "ttl", json_integer(ttl_ms));
    err = api_rpc(api, bundle->host ? "certs.host" : "certs.user", params, &bundle->result, error);
    api_close(api);
    if (err == TP_OK)
        err = json_need_text(bundle->result, bundle->host ? "ssh_cert" : "cert", &bundle->ssh_cert, error);
    if (err == TP_OK)
        err = json_need_text(bundle->result, "tls_cert", &bundle->tls_cert, error);
    if (err == TP_OK)
        err = json_need_text(bundle->result, "cluster_name", &bundle->cluster, error);
    return err == TP_OK ? read_signers(bundle, error) : err;
}

static json_t *base64(const char *text)
{
    char *encoded = enc_base64(text, strlen(text));
    json_t *value = json_string(encoded);
    secret_free(encoded);
    return value;
}

/* A kubeconfig with certificate and key inside: no program is needed to use it. */
static enum tp_err kubeconfig(struct bundle *bundle, const char *proxy, const char *kube, char **ret_text,
                              struct tp_error *error)
{
    char *server_name = NULL;
    enum tp_err err = sni_for_kube(kube, bundle->cluster, &server_name, error);
    if (err != TP_OK)
        return err;
    char *context = mem_printf("%s-%s", bundle->cluster, kube);
    char *server = mem_printf("https://%s%s", proxy, strrchr(proxy, ':') > strrchr(proxy, ']') ? "" : ":443");
    json_t *config = json_pack(
        "{s:s, s:s, s:[{s:s, s:{s:s, s:s, s:o}}], s:[{s:s, s:{s:s, s:s}}], s:s, s:[{s:s, s:{s:o, s:o}}]}", "apiVersion",
        "v1", "kind", "Config", "clusters", "name", context, "cluster", "server", server, "tls-server-name",
        server_name, "certificate-authority-data", base64(buf_text(&bundle->cas)), "contexts", "name", context,
        "context", "cluster", context, "user", context, "current-context", context, "users", "name", context, "user",
        "client-certificate-data", base64(bundle->tls_cert), "client-key-data", base64(bundle->tls_private));
    *ret_text = node_yaml_from_json(config);
    json_decref(config);
    mem_free(context);
    mem_free(server);
    mem_free(server_name);
    return TP_OK;
}

struct output_file {
    char *path;
    char *text; /* secret */
};

/* All or nothing: that no file is in the way is checked before the first one is written. */
static enum tp_err write_files(struct output_file *files, size_t count, bool overwrite, struct tp_error *error)
{
    enum tp_err err = TP_OK;
    for (size_t i = 0; err == TP_OK && i < count && !overwrite; i++) {
        if (file_exists(files[i].path))
            err = err_set(error, TP_EXISTS, "%s is there already; --overwrite replaces it", files[i].path);
    }
    for (size_t i = 0; err == TP_OK && i < count; i++)
        err = file_write_text(files[i].path, files[i].text, error);
    if (err == TP_OK) {
        (void)printf("\nThe credentials have been written to");
        for (size_t i = 0; i < count; i++) {
            (void)printf("%s", i > 0 ? ", " : " ");
            output_safe(files[i].path);
        }
        (void)printf("\n");
    }
    for (size_t i = 0; i < count; i++) {
        mem_free(files[i].path);
        secret_free(files[i].text);
    }
    return err;
}

static enum tp_err write_bundle(const struct command_line *line, struct bundle *bundle, const char *format,
                                const char *proxy, struct tp_error *error)
{
    const char *out = command_text(line, "out", NULL);
    const char *kube = command_text(line, "kube-cluster-name", NULL);
    struct output_file files[3] = {{NULL, NULL}};
    size_t count = 0;
    if (strcmp(format, "openssh") == 0) {
        files[count++] = (struct output_file){mem_strdup(out), mem_strdup(bundle->ssh_private)};
        files[count++] = (struct output_file){mem_printf("%s-cert.pub", out), mem_printf("%s\n", bundle->ssh_cert)};
    } else if (strcmp(format, "tls") == 0) {
        files[count++] = (struct output_file){mem_printf("%s.key", out), mem_strdup(bundle->tls_private)};
        files[count++] = (struct output_file){mem_printf("%s.crt", out), mem_strdup(bundle->tls_cert)};
        files[count++] = (struct output_file){mem_printf("%s.cas", out), mem_strdup(buf_text(&bundle->cas))};
    } else if (strcmp(format, "kubernetes") == 0) {
        char *text = NULL;
        enum tp_err err = kubeconfig(bundle, proxy, kube, &text, error);
        if (err != TP_OK)
            return err;
        files[count++] = (struct output_file){mem_strdup(out), text};
    } else {
        files[count++] = (struct output_file){
            mem_strdup(out), mem_printf("%s%s\n%s%s%s%s", bundle->ssh_private, bundle->ssh_cert, bundle->tls_private,
                                        bundle->tls_cert, buf_text(&bundle->cas), buf_text(&bundle->authorities))};
    }
    return write_files(files, count, command_flag(line, "overwrite"), error);
}

/* The profile's, or beside auth the one that the cluster is configured with. Owned by the caller. */
static enum tp_err find_proxy(const struct command_line *line, char **ret_address, struct tp_error *error)
{
    struct api *api = NULL;
    json_t *status = NULL;
    enum tp_err err = tportctl_open(line, &api, ret_address, error);
    if (err == TP_OK && !*ret_address)
        err = api_rpc(api, "cluster.status", json_object(), &status, error);
    if (err == TP_OK && !*ret_address && *json_get_text(status, "public_addr", ""))
        *ret_address = mem_strdup(json_get_text(status, "public_addr", ""));
    if (err == TP_OK && !*ret_address)
        err = err_set(error, TP_INVALID, "where is the proxy? Give --proxy=HOST:PORT");
    json_decref(status);
    api_close(api);
    return err;
}

/* ttl: what was asked for, in milliseconds; 0: nothing. */
static void print_end(const char *valid_until, int64_t ttl)
{
    int64_t end;
    bool shorter = ttl > 0 && clock_parse_ms(valid_until, &end) == TP_OK && end - clock_wall_ms() < ttl - 60000;
    (void)printf("They are valid until ");
    output_safe(valid_until);
    (void)printf("%s\n", shorter ? ": less than was asked for, as the user's roles or the cluster allow no more" : "");
}

enum tp_err tportctl_auth_sign(struct command_line *line, struct tp_error *error)
{
    static const char *const formats[] = {"file", "openssh", "tls", "kubernetes", NULL};
    const char *user = command_text(line, "user", NULL), *host = command_text(line, "host", NULL);
    const char *format, *proxy = command_text(line, "proxy", NULL);
    struct bundle bundle = {0};
    char *address = NULL;
    int64_t ttl = 0;

    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err == TP_OK && !user == !host)
        err = err_set(error, TP_INVALID, "for whom? Give --user=NAME or --host=NAME");
    if (err == TP_OK && !command_text(line, "out", NULL))
        err = err_set(error, TP_INVALID, "--out=FILE is needed");
    bool kubernetes = err == TP_OK && strcmp(format, "kubernetes") == 0;
    if (kubernetes && (host || !command_text(line, "kube-cluster-name", NULL)))
        err = err_set(error, TP_INVALID, "--format=kubernetes needs --user and --kube-cluster-name");
    if (err == TP_OK)
        err = command_duration_ms(line, "ttl", 0, &ttl, error);
    if (err == TP_OK && kubernetes && !proxy) {
        err = find_proxy(line, &address, error);
        proxy = address;
    }
    if (err == TP_OK) {
        bundle.host = host != NULL;
        bundle.who = host ? host : user;
        buf_init(&bundle.cas, TEXT_MAX);
        buf_init(&bundle.authorities, TEXT_MAX);
        make_keys(&bundle);
        err = ask(line, &bundle, host, ttl, error);
        if (err == TP_OK)
            err = write_bundle(line, &bundle, format, proxy, error);
        if (err == TP_OK && !host)
            print_end(json_get_text(bundle.result, "valid_until", ""), ttl);
        bundle_free(&bundle);
    }
    mem_free(address);
    return err;
}
