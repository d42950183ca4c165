/* The handlers of calls, one for each row of methods.c: each answers its call once, now or later. */
#ifndef AUTH_HANDLERS_H
#define AUTH_HANDLERS_H

struct call;

#define METHOD(fn) void fn(struct call *call)
METHOD(do_cluster_info);
METHOD(do_cluster_cas);
METHOD(do_cluster_status);
METHOD(do_ca_rotate);
METHOD(do_login_password);
METHOD(do_login_web);
METHOD(do_login_web_end);
METHOD(do_invite_get);
METHOD(do_invite_confirm);
METHOD(do_invite_finish);
METHOD(do_host_join);
METHOD(do_host_join_local);
METHOD(do_host_renew);
METHOD(do_host_heartbeat);
METHOD(do_proxy_cert);
METHOD(do_tunnel_up);
METHOD(do_tunnel_down);
METHOD(do_ssh_connect);
METHOD(do_term_connect);
METHOD(do_kube_connect);
METHOD(do_kube_certs);
METHOD(do_kube_list);
METHOD(do_mfa_required);
METHOD(do_mfa_session);
METHOD(do_session_closed);
METHOD(do_session_resume);
METHOD(do_session_auth);
METHOD(do_session_start);
METHOD(do_session_event);
METHOD(do_session_events);
METHOD(do_session_end);
METHOD(do_recording_append);
METHOD(do_nodes_list);
METHOD(do_user_context);
METHOD(do_user_status);
METHOD(do_recordings_list);
METHOD(do_recordings_read);
METHOD(do_sessions_list);
METHOD(do_sessions_end);
METHOD(do_users_add);
METHOD(do_users_reset);
METHOD(do_users_update);
METHOD(do_tokens_add);
METHOD(do_tokens_script);
METHOD(do_tokens_joined);
METHOD(do_resources_get);
METHOD(do_resources_put);
METHOD(do_resources_rm);
METHOD(do_locks_add);
METHOD(do_access_explain);
METHOD(do_access_reach);
METHOD(do_certs_user);
METHOD(do_certs_host);
METHOD(do_audit_list);
METHOD(do_audit_checkpoint);
#undef METHOD

#endif
