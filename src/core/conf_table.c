/* One row per key. */
#include "core/conf_inner.h"

#include <stddef.h>
#include <string.h>

/* clang-format off */
#define AT(field) offsetof(struct conf, field)
#define EVERYONE (CONF_AUTH | CONF_WORKER | CONF_AGENT)
#define SECTION(path, help) {path, CONF_SECTION, 0, NULL, NULL, 0, help}
#define NO_EFFECT(path, help) {path, CONF_NO_EFFECT, 0, NULL, NULL, 0, help}
#define ONLY(path, choices, help) {path, CONF_NO_EFFECT, 0, NULL, choices, 0, help}
#define UNSUPPORTED(path) {path, CONF_UNSUPPORTED, 0, NULL, NULL, 0, "not supported by this version"}
/* clang-format on */

static const struct conf_row rows[] = {
    {"version", CONF_CHOICE, AT(version), "v3", "v1|v2|v3", 0, "version of the file's format"},

    SECTION("tport", "what all services share; teleport: is another name for it"),
    {"tport.nodename", CONF_TEXT, AT(nodename), NULL, NULL, EVERYONE, "name of this machine; default: its host name"},
    {"tport.data_dir", CONF_TEXT, AT(data_dir), "/var/lib/tport", NULL, EVERYONE | CONF_AT_START,
     "folder of all data, an absolute path"},
    {"tport.pid_file", CONF_TEXT, AT(pid_file), "", NULL, CONF_AT_START,
     "file that gets the number of the master process"},
    {"tport.auth_token", CONF_TEXT, AT(auth_token), "", NULL, CONF_AGENT | CONF_SECRET,
     "token to join a cluster with, or the absolute path of a file that holds it"},
    SECTION("tport.join_params", "how to join; the newer form of auth_token"),
    {"tport.join_params.method", CONF_CHOICE, AT(join_method), "token", "token", CONF_AGENT, "way to join"},
    {"tport.join_params.token_name", CONF_TEXT, AT(join_token), "", NULL, CONF_AGENT | CONF_SECRET,
     "the token, or the absolute path of a file that holds it"},
    UNSUPPORTED("tport.join_params.azure"),
    UNSUPPORTED("tport.join_params.kubernetes"),
    {"tport.ca_pin", CONF_LIST, AT(ca_pin), NULL, NULL, CONF_AGENT,
     "pins of the cluster's host CA (sha256:...), or files that hold them"},
    {"tport.proxy_server", CONF_ADDR, AT(proxy_server), "", NULL, CONF_AGENT, "host:port of the proxy to join through"},
    {"tport.auth_servers", CONF_ADDR_LIST, AT(auth_servers), NULL, NULL, CONF_AGENT,
     "older form of proxy_server; the first one is used"},
    {"tport.auth_server", CONF_ADDR_LIST, AT(auth_servers), NULL, NULL, CONF_AGENT, "the same as auth_servers"},
    UNSUPPORTED("tport.relay_server"),
    SECTION("tport.log", "the log"),
    {"tport.log.output", CONF_TEXT, AT(log_output), "stderr", NULL, EVERYONE, "stderr, stdout, or the path of a file"},
    {"tport.log.severity", CONF_CHOICE, AT(log_severity), "info", "debug|info|warn|warning|error|err", EVERYONE,
     "least important level that is written"},
    SECTION("tport.log.format", "form of a log line"),
    {"tport.log.format.output", CONF_CHOICE, AT(log_format), "text", "text|json", EVERYONE, "text or json"},
    NO_EFFECT("tport.log.format.extra_fields", "all fields are always written"),
    {"tport.diag_addr", CONF_ADDR, AT(diag_addr), "", NULL, CONF_AT_START,
     "where /healthz, /readyz and /metrics answer; nothing listens when it is empty"},
    SECTION("tport.processes", "the processes of the daemon"),
    {"tport.processes.workers", CONF_INT, AT(workers), "0", NULL, CONF_AUTH | CONF_WORKER | CONF_AT_START,
     "processes that serve connections, 1 to 64; default: one per processor"},
    {"tport.processes.auth_user", CONF_TEXT, AT(auth_user), "tport-auth", NULL, CONF_AT_START,
     "system user of the auth process"},
    {"tport.processes.worker_user", CONF_TEXT, AT(worker_user), "tport-worker", NULL, CONF_AT_START,
     "system user of the worker processes"},
    {"tport.processes.session_user", CONF_TEXT, AT(session_user), "tport-session", NULL, CONF_AGENT | CONF_AT_START,
     "system user that parses SSH before a login is proven"},
    NO_EFFECT("tport.advertise_ip", "machines are reached through their tunnel"),
    NO_EFFECT("tport.cache", "there is no cache to set up"),
    NO_EFFECT("tport.shutdown_delay", "a drain waits for connections by itself"),
    NO_EFFECT("tport.connection_limits", "limits are built in"),
    SECTION("tport.storage", "where data is kept"),
    ONLY("tport.storage.type", "dir|sqlite|lite", "the embedded store"),
    UNSUPPORTED("tport.storage.path"),
    UNSUPPORTED("tport.storage.audit_events_uri"),
    UNSUPPORTED("tport.storage.audit_sessions_uri"),
    UNSUPPORTED("tport.storage.region"),
    UNSUPPORTED("tport.storage.table_name"),
    UNSUPPORTED("tport.ciphers"),
    UNSUPPORTED("tport.kex_algos"),
    UNSUPPORTED("tport.mac_algos"),
    UNSUPPORTED("tport.ca_signature_algo"),
    UNSUPPORTED("tport.ciphersuites"),

    SECTION("auth_service", "certificates, users, decisions, audit"),
    {"auth_service.enabled", CONF_BOOL, AT(auth_enabled), "yes", NULL, CONF_AUTH | CONF_AGENT | CONF_AT_START,
     "run this service; default yes, unless proxy_server or auth_servers say that the cluster is elsewhere"},
    {"auth_service.cluster_name", CONF_TEXT, AT(cluster_name), "", NULL, CONF_AUTH | CONF_AT_START,
     "name of the cluster, a domain name; can't be changed later; default: tport.nodename"},
    {"auth_service.tokens", CONF_LIST, AT(tokens), NULL, NULL, CONF_AUTH | CONF_SECRET,
     "static join tokens, each ROLE:TOKEN or ROLE:/path/of/file"},
    SECTION("auth_service.authentication", "how users sign in"),
    {"auth_service.authentication.type", CONF_CHOICE, AT(auth_type), "local", "local", CONF_AUTH, "kind of users"},
    {"auth_service.authentication.local_auth", CONF_BOOL, AT(local_auth), "yes", NULL, CONF_AUTH,
     "let local users sign in with their password"},
    {"auth_service.authentication.second_factor", CONF_CHOICE, AT(second_factor), "otp", "off|otp|on|optional",
     CONF_AUTH, "one-time code at sign-in: otp and on need it, optional asks those who have one, off never asks"},
    ONLY("auth_service.authentication.second_factors", "otp", "second factors are one-time codes"),
    {"auth_service.authentication.default_session_ttl", CONF_DURATION, AT(default_session_ttl), "12h", NULL, CONF_AUTH,
     "how long a certificate is valid when the user asks for nothing"},
    {"auth_service.authentication.locking_mode", CONF_CHOICE, AT(locking_mode), "best_effort", "best_effort|strict",
     CONF_AUTH, "what to do when locks may be out of date"},
    NO_EFFECT("auth_service.authentication.webauthn", "second factors are one-time codes"),
    NO_EFFECT("auth_service.authentication.u2f", "second factors are one-time codes"),
    UNSUPPORTED("auth_service.authentication.require_session_mfa"),
    UNSUPPORTED("auth_service.authentication.passwordless"),
    UNSUPPORTED("auth_service.authentication.headless"),
    UNSUPPORTED("auth_service.authentication.connector_name"),
    UNSUPPORTED("auth_service.authentication.device_trust"),
    {"auth_service.session_recording", CONF_CHOICE, AT(session_recording), "node", "node|node-sync|off", CONF_AUTH,
     "who records sessions: node, node-sync (nothing is shown that is not stored yet), off"},
    {"auth_service.client_idle_timeout", CONF_DURATION, AT(client_idle_timeout), "0s", NULL, CONF_AUTH,
     "end connections on which nothing was sent for so long; 0s: never"},
    {"auth_service.web_idle_timeout", CONF_DURATION, AT(web_idle_timeout), "10m", NULL, CONF_AUTH,
     "end web sessions that were not used for so long"},
    {"auth_service.disconnect_expired_cert", CONF_BOOL, AT(disconnect_expired_cert), "no", NULL, CONF_AUTH,
     "end connections when the user's certificate ends"},
    {"auth_service.keep_alive_interval", CONF_DURATION, AT(keep_alive_interval), "5m", NULL, EVERYONE,
     "how often an idle connection is probed"},
    {"auth_service.keep_alive_count_max", CONF_INT, AT(keep_alive_count_max), "3", NULL, EVERYONE,
     "probes without an answer after which the connection is ended"},
    {"auth_service.message_of_the_day", CONF_TEXT, AT(message_of_the_day), "", NULL, CONF_AUTH | CONF_WORKER,
     "text shown before sign-in"},
    NO_EFFECT("auth_service.listen_addr", "auth has no port of its own, it is reached through the proxy"),
    NO_EFFECT("auth_service.public_addr", "auth has no port of its own, it is reached through the proxy"),
    NO_EFFECT("auth_service.client_idle_timeout_message", "the reason is always told"),
    ONLY("auth_service.proxy_listener_mode", "multiplex", "one port serves everything"),
    ONLY("auth_service.proxy_checks_host_keys", "yes|true|on", "host keys are always checked"),
    NO_EFFECT("auth_service.session_control_timeout", "there is one auth process"),
    NO_EFFECT("auth_service.routing_strategy", "the newest tunnel wins"),
    NO_EFFECT("auth_service.license_file", "no license is needed"),
    NO_EFFECT("auth_service.labels", "auth is no target"),
    UNSUPPORTED("auth_service.tunnel_strategy"),
    UNSUPPORTED("auth_service.ca_key_params"),

    SECTION("proxy_service", "the public port"),
    {"proxy_service.enabled", CONF_BOOL, AT(proxy_enabled), "yes", NULL, CONF_AT_START,
     "run this service; default as auth_service.enabled"},
    {"proxy_service.web_listen_addr", CONF_ADDR, AT(web_listen_addr), "0.0.0.0:443", NULL, CONF_WORKER | CONF_AT_START,
     "address and port that serve everything"},
    {"proxy_service.public_addr", CONF_ADDR_LIST, AT(public_addr), NULL, NULL, CONF_AUTH | CONF_WORKER | CONF_AGENT,
     "names (and ports) under which people reach the proxy; the first one stands in links"},
    {"proxy_service.https_keypairs", CONF_KEYPAIRS, AT(https_keypairs), NULL, NULL, CONF_WORKER,
     "certificates of the public port, each key_file and cert_file (PEM)"},
    NO_EFFECT("proxy_service.https_keypairs_reload_interval", "a reload reads the files again"),
    {"proxy_service.proxy_protocol", CONF_CHOICE, AT(proxy_protocol), "", "on|off", CONF_WORKER,
     "whether load balancers send the PROXY header; default: on exactly when proxy_protocol_trusted is given"},
    {"proxy_service.proxy_protocol_trusted", CONF_CIDR_LIST, AT(proxy_protocol_trusted), NULL, NULL, CONF_WORKER,
     "address ranges of the load balancers that send (and must send) the PROXY header"},
    NO_EFFECT("proxy_service.listen_addr", "web_listen_addr serves everything"),
    NO_EFFECT("proxy_service.tunnel_listen_addr", "web_listen_addr serves everything"),
    NO_EFFECT("proxy_service.kube_listen_addr", "web_listen_addr serves everything"),
    NO_EFFECT("proxy_service.peer_listen_addr", "web_listen_addr serves everything"),
    NO_EFFECT("proxy_service.ssh_public_addr", "public_addr is the address of everything"),
    NO_EFFECT("proxy_service.tunnel_public_addr", "public_addr is the address of everything"),
    NO_EFFECT("proxy_service.kube_public_addr", "public_addr is the address of everything"),
    NO_EFFECT("proxy_service.ui", "the web page has its own settings"),
    UNSUPPORTED("proxy_service.mysql_listen_addr"),
    UNSUPPORTED("proxy_service.postgres_listen_addr"),
    UNSUPPORTED("proxy_service.mongo_listen_addr"),
    UNSUPPORTED("proxy_service.acme"),
    UNSUPPORTED("proxy_service.trust_x_forwarded_for"),
    UNSUPPORTED("proxy_service.idp"),
    UNSUPPORTED("proxy_service.automatic_upgrades_channels"),

    SECTION("ssh_service", "SSH access to this machine"),
    {"ssh_service.enabled", CONF_BOOL, AT(ssh_enabled), "yes", NULL, CONF_AGENT | CONF_AT_START, "run this service"},
    {"ssh_service.labels", CONF_LABELS, AT(labels), NULL, NULL, CONF_AGENT, "labels that roles select machines by"},
    {"ssh_service.commands", CONF_COMMANDS, AT(commands), NULL, NULL, CONF_AGENT,
     "labels whose value a command prints: name, command (a list), period"},
    {"ssh_service.permit_user_env", CONF_BOOL, AT(permit_user_env), "no", NULL, CONF_AGENT,
     "read ~/.tsh/environment of the login"},
    SECTION("ssh_service.pam", "PAM"),
    {"ssh_service.pam.enabled", CONF_BOOL, AT(pam_enabled), "no", NULL, CONF_AGENT,
     "run the PAM account and session stacks"},
    {"ssh_service.pam.service_name", CONF_TEXT, AT(pam_service_name), "sshd", NULL, CONF_AGENT, "name in /etc/pam.d"},
    UNSUPPORTED("ssh_service.pam.use_pam_auth"),
    UNSUPPORTED("ssh_service.pam.environment"),
    {"ssh_service.port_forwarding", CONF_BOOL, AT(port_forwarding), "yes", NULL, CONF_AGENT,
     "let users forward ports, where their role allows it too"},
    {"ssh_service.ssh_file_copy", CONF_BOOL, AT(ssh_file_copy), "yes", NULL, CONF_AGENT,
     "let users copy files, where their role allows it too"},
    NO_EFFECT("ssh_service.listen_addr", "machines are reached through their tunnel"),
    NO_EFFECT("ssh_service.public_addr", "machines are reached through their tunnel"),
    ONLY("ssh_service.disable_create_host_user", "yes|no|true|false|on|off", "system users are never made"),
    UNSUPPORTED("ssh_service.force_listen"),
    UNSUPPORTED("ssh_service.enhanced_recording"),
    UNSUPPORTED("ssh_service.x11"),

    UNSUPPORTED("kubernetes_service"),
    UNSUPPORTED("app_service"),
    UNSUPPORTED("db_service"),
    UNSUPPORTED("windows_desktop_service"),
    UNSUPPORTED("discovery_service"),
    UNSUPPORTED("debug_service"),
    UNSUPPORTED("tracing_service"),
    UNSUPPORTED("metrics_service"),
    UNSUPPORTED("jamf_service"),
    UNSUPPORTED("okta_service"),
    UNSUPPORTED("relay_service"),
};

const struct conf_row *conf_rows(size_t *ret_count)
{
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const struct conf_row *conf_row_find(const char *path)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].path, path) == 0)
            return &rows[i];
    }
    return NULL;
}

bool conf_row_has_field(const struct conf_row *row)
{
    return row->kind != CONF_SECTION && row->kind != CONF_NO_EFFECT && row->kind != CONF_UNSUPPORTED;
}
