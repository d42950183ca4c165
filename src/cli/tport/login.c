/* tport login. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/mem.h"
#include "cli/common/file.h"
#include "cli/common/output.h"
#include "cli/common/term.h"
#include "cli/tport/tport.h"
#include "cli/tport/trust.h"
#include "crypt/key.h"
#include "crypt/sshcert.h"
#include "crypt/x509.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELD_MAX ((size_t)1024 * 1024)
#define MINUTE_MS INT64_C(60000)

/* Everything one login has at hand. */
struct login {
    char *home;
    char *host;
    uint16_t port;
    char *address;
    char *user;
    int64_t ttl_ms;
    struct api_trust trust;
    struct api *api;
    json_t *ping;
    struct key *ssh_key, *tls_key;
    char *ssh_public, *ssh_private, *tls_private;
    char *ssh_cert, *tls_cert;
    json_t *kube_users, *kube_groups; /* texts, or NULL */
    bool mfa_never;                   /* no role asks for a code before each session */
    struct trust trust_given;         /* what the answer says about the host CA */
};

static void login_free(struct login *login)
{
    api_close(login->api);
    json_decref(login->ping);
    json_decref(login->kube_users);
    json_decref(login->kube_groups);
    key_free(login->ssh_key);
    key_free(login->tls_key);
    secret_free(login->ssh_private);
    secret_free(login->tls_private);
    mem_free(login->ssh_public);
    mem_free(login->ssh_cert);
    mem_free(login->tls_cert);
    mem_free(login->home);
    mem_free(login->host);
    mem_free(login->address);
    mem_free(login->user);
    trust_free(&login->trust_given);
}

static enum tp_err parse_ttl(const struct command_line *line, int64_t *ret_ms, struct tp_error *error)
{
    const char *text = command_text(line, "ttl", NULL);
    char *end;
    *ret_ms = 0;
    if (!text)
        return TP_OK;
    unsigned long minutes = strtoul(text, &end, 10);
    if (*end == '\0' && *text >= '0' && *text <= '9' && minutes > 0 && minutes < 1000000) {
        *ret_ms = (int64_t)minutes * MINUTE_MS;
        return TP_OK;
    }
    return command_duration_ms(line, "ttl", 0, ret_ms, error);
}

/* Where to and as whom: options, environment, the current profile, the local user. */
static enum tp_err choose(const struct command_line *line, struct login *login, struct tp_error *error)
{
    struct profile current = {0};
    enum tp_err err = TP_OK;

    login->home = profile_home();
    bool have = profile_load(login->home, NULL, &current, NULL) == TP_OK;
    const char *proxy = command_text_env(line, "proxy", "PROXY", have ? current.address : NULL);
    if (!proxy)
        err = err_set(error, TP_INVALID, "which proxy? Give --proxy=HOST[:PORT]");
    if (err == TP_OK)
        err = profile_parse_proxy(proxy, &login->host, &login->port, error);
    if (err == TP_OK) {
        const struct passwd *entry = getpwuid(getuid());
        bool same = have && strcmp(current.host, login->host) == 0;
        const char *local = same ? current.user : entry ? entry->pw_name : NULL;
        const char *user = command_text_env(line, "user", "USER", local);
        bool v6 = strchr(login->host, ':') != NULL;
        login->address = mem_printf("%s%s%s:%u", v6 ? "[" : "", login->host, v6 ? "]" : "", (unsigned)login->port);
        login->user = mem_strdup(user ? user : "");
        err = profile_check_user(login->user, error);
    }
    if (err == TP_OK)
        err = parse_ttl(line, &login->ttl_ms, error);
    profile_free(&current);
    return err;
}

/* After the kubeconfig is written: it names the cluster that is selected there. */
static void say_status(const struct profile *profile)
{
    char *block = tport_status_block(profile, true, clock_wall());
    (void)fputs(block, stdout);
    mem_free(block);
}

/* A valid profile for the same proxy and user: nothing to do but to show it. */
static bool already_in(const struct command_line *line, const struct login *login, enum tp_err *ret_err,
                       struct tp_error *error)
{
    struct profile profile = {0};
    const char *proxy = command_text_env(line, "proxy", "PROXY", login->host); /* a port that is named counts */
    bool in = profile_load(login->home, proxy, &profile, NULL) == TP_OK && strcmp(profile.user, login->user) == 0 &&
              profile_check_valid(&profile, NULL) == TP_OK && !command_text(line, "out", NULL) && login->ttl_ms == 0;
    if (in) {
        char *path = mem_printf("%s/current-profile", login->home);
        char *name = mem_printf("%s\n", login->host);
        struct tp_error why;
        const char *select = command_text(line, "kube-cluster", NULL);
        if (file_write_text(path, name, &why) != TP_OK)
            (void)fprintf(stderr, "WARNING: %s\n", why.text);
        mem_free(path);
        mem_free(name);
        *ret_err = select ? tport_kube_after_login(&profile, select, error) : TP_OK;
        say_status(&profile);
    }
    profile_free(&profile);
    return in;
}

static enum tp_err ping(struct login *login, struct tp_error *error)
{
    enum tp_err err = api_open_web(login->host, login->port, &login->trust, &login->api, error);
    if (err == TP_OK)
        err = api_web(login->api, "/webapi/ping", NULL, &login->ping, error);
    if (err == TP_OK && (!login->ping || !*output_text_at(login->ping, "cluster_name")))
        err =
            err_set(error, TP_PROTOCOL, "%s does not answer like a tport proxy; is the address right?", login->address);
    if (err == TP_OK && !profile_good_name(output_text_at(login->ping, "cluster_name")))
        err = err_set(error, TP_PROTOCOL, "the proxy's cluster name can't be used");
    if (err == TP_OK && strcmp(output_text_at(login->ping, "auth.type"), "local") != 0 &&
        *output_text_at(login->ping, "auth.type"))
        err = err_set(error, TP_INVALID, "this cluster signs in by %s, which this program does not know",
                      output_text_at(login->ping, "auth.type"));
    return err;
}

static json_t *base64_json(const char *text)
{
    char *encoded = enc_base64(text, strlen(text));
    json_t *value = json_string(encoded);
    mem_free(encoded);
    return value;
}

static json_t *login_body(struct login *login, const char *password, const char *code)
{
    char *tls_public = key_public_pem(login->tls_key);
    json_t *body = json_object();
    (void)json_object_set_new(body, "user", json_string(login->user));
    (void)json_object_set_new(body, "password", json_string(password));
    (void)json_object_set_new(body, "totp_code", json_string(code));
    (void)json_object_set_new(body, "ssh_pub_key", base64_json(login->ssh_public));
    (void)json_object_set_new(body, "tls_pub_key", base64_json(tls_public));
    (void)json_object_set_new(body, "ttl", json_integer(login->ttl_ms * INT64_C(1000000)));
    mem_free(tls_public);
    return body;
}

/* A certificate as text: given as it is, or in base64 (as Teleport's web API does). mem_free it. */
static enum tp_err field_text(const json_t *object, const char *key, const char *plain_start, char **ret_text,
                              struct tp_error *error)
{
    const char *text;
    struct buf decoded;
    enum tp_err err = json_need_text(object, key, &text, error);
    if (err != TP_OK)
        return err;
    if (strncmp(text, plain_start, strlen(plain_start)) == 0) {
        *ret_text = mem_strdup(text);
        return TP_OK;
    }
    buf_init(&decoded, FIELD_MAX);
    if (dec_base64(text, strlen(text), &decoded) != TP_OK ||
        strncmp(buf_text(&decoded), plain_start, strlen(plain_start)) != 0) {
        buf_free(&decoded);
        return err_set(error, TP_PROTOCOL, "the proxy's answer holds no %s", key);
    }
    *ret_text = buf_take(&decoded);
    return TP_OK;
}

/* A certificate that was made this moment must be valid this moment: else one of the two clocks is wrong, and every
 * command after this one would fail with a less helpful sentence. */
static enum tp_err check_clock(const struct identity *identity, struct tp_error *error)
{
    int64_t now = clock_wall();
    char here[CLOCK_TEXT_SIZE], there[CLOCK_TEXT_SIZE];
    if (now >= identity->not_before && now < identity->not_after)
        return TP_OK;
    clock_format(now, here);
    clock_format(identity->not_before, there);
    return err_set(
        error, TP_EXPIRED,
        "this machine's clock says %s, the cluster's about %s, so the new certificate is not valid here; set "
        "the clock right, then sign in again",
        here, there);
}

/* The texts of a list; anything else in it is left out. */
static json_t *texts_of(const json_t *answer, const char *key)
{
    json_t *texts = json_array();
    size_t index;
    json_t *item;
    json_array_foreach (json_object_get(answer, key), index, item) {
        if (json_is_string(item))
            (void)json_array_append(texts, item);
    }
    return texts;
}

/* The certificates are for our keys and our user, or we do not keep them. */
static enum tp_err check_certs(const struct login *login, const char *cluster, struct tp_error *error)
{
    struct buf blob, der, plain;
    struct sshcert cert = {0};
    struct identity identity;
    uint8_t hash[32];

    buf_init(&blob, FIELD_MAX);
    buf_init(&der, FIELD_MAX);
    buf_init(&plain, FIELD_MAX);
    identity_init(&identity);
    enum tp_err err = sshcert_blob(login->ssh_cert, &blob, error);
    if (err == TP_OK)
        err = sshcert_parse(buf_head(&blob), buf_size(&blob), &cert, error);
    if (err == TP_OK)
        err = sshcert_blob(login->ssh_public, &plain, error);
    if (err == TP_OK)
        err = x509_pem_to_der(login->tls_cert, strlen(login->tls_cert), &der, error);
    if (err == TP_OK)
        err = x509_read(buf_head(&der), buf_size(&der), &identity, error);
    if (err == TP_OK) {
        crypt_sha256(buf_head(&plain), buf_size(&plain), hash);
        if (cert.host || memcmp(hash, cert.key_hash, sizeof(hash)) != 0 || identity.kind != IDENTITY_USER ||
            strcmp(identity.name, login->user) != 0 || strcmp(identity.cluster, cluster) != 0)
            err = err_set(error, TP_PROTOCOL, "the proxy answered with a certificate for somebody else");
    }
    if (err == TP_OK)
        err = check_clock(&identity, error);
    if (cert.principals)
        sshcert_free(&cert);
    identity_free(&identity);
    buf_free(&blob);
    buf_free(&der);
    buf_free(&plain);
    return err;
}

static enum tp_err sign_in(struct login *login, struct tp_error *error)
{
    const char *cluster = output_text_at(login->ping, "cluster_name");
    const char *factor = output_text_at(login->ping, "auth.second_factor");
    char *prompt = mem_printf("Enter password for tport user %s:", login->user);
    char *password = NULL, *code = NULL;
    json_t *answer = NULL;

    enum tp_err err = term_ask(prompt, true, &password, error);
    if (err == TP_OK && strcmp(factor, "off") != 0)
        err = term_ask("Enter an OTP code from a device:", false, &code, error);
    if (err == TP_OK) {
        login->ssh_key = key_generate(KEY_ED25519);
        login->tls_key = key_generate(KEY_P256);
        login->ssh_public = key_public_ssh(login->ssh_key, NULL);
        login->ssh_private = key_to_openssh(login->ssh_key, login->user);
        login->tls_private = key_to_pem(login->tls_key);
        json_t *body = login_body(login, password, code ? code : "");
        err = api_web(login->api, "/webapi/mfa/login/finish", body, &answer, error);
        json_decref(body);
    }
    secret_free(password);
    secret_free(code);
    mem_free(prompt);
    if (err == TP_OK)
        err = field_text(answer, "cert", "ssh-", &login->ssh_cert, error);
    if (err == TP_OK)
        err = field_text(answer, "tls_cert", "-----BEGIN", &login->tls_cert, error);
    if (err == TP_OK)
        err = trust_read(&login->trust_given, answer, cluster, error);
    if (err == TP_OK)
        err = check_certs(login, cluster, error);
    if (err == TP_OK) {
        login->kube_users = texts_of(answer, "kubernetes_users");
        login->kube_groups = texts_of(answer, "kubernetes_groups");
        login->mfa_never = strcmp(json_get_text(answer, "session_mfa", ""), "never") == 0;
    }
    json_decref(answer);
    return err;
}

static enum tp_err write_new(const char *path, const char *text, bool overwrite, struct tp_error *error)
{
    if (!overwrite && file_exists(path))
        return err_set(error, TP_EXISTS, "%s is there already; --overwrite replaces it", path);
    return file_write_text(path, text, error);
}

/* -o FILE: one file with everything, or OpenSSH's pair FILE and FILE-cert.pub. */
static enum tp_err write_out(const struct command_line *line, const struct login *login, const char *path,
                             struct tp_error *error)
{
    static const char *const formats[] = {"file", "openssh", NULL};
    bool overwrite = command_flag(line, "overwrite");
    const char *format;
    enum tp_err err = command_choice(line, "format", formats, &format, error);
    if (err != TP_OK)
        return err;
    if (strcmp(format, "openssh") == 0) {
        char *cert_path = mem_printf("%s-cert.pub", path);
        char *cert = mem_printf("%s\n", login->ssh_cert);
        err = write_new(path, login->ssh_private, overwrite, error);
        if (err == TP_OK)
            err = write_new(cert_path, cert, overwrite, error);
        mem_free(cert_path);
        mem_free(cert);
    } else {
        struct buf all;
        buf_init(&all, 0);
        (void)buf_printf(&all, "%s%s\n%s%s%s", login->ssh_private, login->ssh_cert, login->tls_private, login->tls_cert,
                         (const char *)buf_head(&login->trust_given.cas));
        for (size_t i = 0; i < login->trust_given.host_keys.count; i++)
            (void)buf_printf(&all, "@cert-authority *.%s %s type=host\n", output_text_at(login->ping, "cluster_name"),
                             login->trust_given.host_keys.items[i]);
        err = write_new(path, buf_text(&all), overwrite, error);
        buf_wipe(&all);
    }
    if (err == TP_OK)
        (void)printf("The identity has been written to %s\n", path);
    return err;
}

/* kubectl's configuration gets the clusters of this profile. Signing in has worked already, so what fails here is a
 * warning, unless a cluster was asked for by name. */
static enum tp_err fill_kubeconfig(const struct command_line *line, const struct profile *profile,
                                   struct tp_error *error)
{
    const char *select = command_text(line, "kube-cluster", NULL);
    enum tp_err err = profile->kube || select ? tport_kube_after_login(profile, select, error) : TP_OK;
    if (err == TP_OK || select)
        return err;
    (void)fprintf(stderr, "WARNING: the kubeconfig stays as it is: %s\n", error->text);
    return TP_OK;
}

static enum tp_err write_profile(const struct command_line *line, struct login *login, struct tp_error *error)
{
    struct profile profile, saved = {0};
    enum tp_err err = profile_init(&profile, login->home, login->host, login->address, login->user,
                                   output_text_at(login->ping, "cluster_name"), error);
    if (err != TP_OK)
        return err;
    struct profile_content content = {.ssh_key = login->ssh_private,
                                      .ssh_public = login->ssh_public,
                                      .ssh_cert = login->ssh_cert,
                                      .tls_key = login->tls_private,
                                      .tls_cert = login->tls_cert,
                                      .cas = buf_text(&login->trust_given.cas),
                                      .host_keys = (const char *const *)login->trust_given.host_keys.items};
    profile.kube = json_is_true(output_at(login->ping, "proxy.kube.enabled"));
    profile.kube_users = json_incref(login->kube_users);
    profile.kube_groups = json_incref(login->kube_groups);
    profile.mfa_never = login->mfa_never;
    err = profile_save(&profile, &content, error);
    if (err == TP_OK)
        err = profile_load(login->home, login->host, &saved, error);
    if (err == TP_OK) {
        err = fill_kubeconfig(line, &saved, error);
        say_status(&saved);
    }
    profile_free(&saved);
    profile_free(&profile);
    return err;
}

enum tp_err tport_login(struct command_line *line, struct tp_error *error)
{
    struct login login = {0};
    const char *auth = command_text(line, "auth", "local");
    const char *out = command_text(line, "out", NULL);

    trust_init(&login.trust_given);
    enum tp_err err = tport_mfa_mode(line, error);
    if (err == TP_OK)
        err = choose(line, &login, error);
    if (err == TP_OK && strcmp(auth, "local") != 0)
        err = err_set(error, TP_INVALID, "--auth=%s: only local sign-in is there", auth);
    login.trust.home = login.home;
    login.trust.ca_pin = command_text(line, "ca-pin", NULL);
    login.trust.insecure = command_flag(line, "insecure");
    bool pinned = login.trust.ca_pin != NULL; /* and checked, also when there is nothing else to do */
    if (err == TP_OK && pinned)
        err = ping(&login, error);
    if (err != TP_OK || already_in(line, &login, &err, error)) {
        login_free(&login);
        return err;
    }
    if (login.trust.insecure)
        (void)fprintf(stderr, "WARNING: the proxy's certificate is not checked (--insecure)\n");
    if (!pinned)
        err = ping(&login, error);
    if (err == TP_OK && line->arg_count > 0 && strcmp(line->args[0], output_text_at(login.ping, "cluster_name")) != 0)
        err = err_set(error, TP_NOT_FOUND, "there is no cluster %s here; the proxy's is %s", line->args[0],
                      output_text_at(login.ping, "cluster_name"));
    if (err == TP_OK)
        err = sign_in(&login, error);
    if (err == TP_OK)
        err = out ? write_out(line, &login, out, error) : write_profile(line, &login, error);
    login_free(&login);
    return err;
}
