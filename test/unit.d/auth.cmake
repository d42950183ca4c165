tport_unit_test(test_auth_methods tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_rotation tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_login tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_invite tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_join tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_cert_cache tport_auth)
tport_unit_test(test_auth_secrets tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_access tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_workers tport_auth PkgConfig::OATH)
# A name is found without a walk through all servers.
tport_unit_test(test_auth_names tport_auth PkgConfig::OATH)
target_link_options(test_auth_names PRIVATE -Wl,--wrap=map_each)
# Each of its steps can be the last one.
tport_unit_test(test_secrets_rekey tport_auth tport_store PkgConfig::LMDB)
target_link_options(test_secrets_rekey PRIVATE -Wl,--wrap=rename,--wrap=link,--wrap=unlink,--wrap=mkdir,--wrap=rmdir
  -Wl,--wrap=fsync,--wrap=pwrite,--wrap=mdb_put,--wrap=mdb_txn_commit)
# The work of a login is counted where it leaves for the library.
tport_unit_test(test_auth_timing tport_auth PkgConfig::OATH)
target_link_options(test_auth_timing PRIVATE -Wl,--wrap=argon2id_verify,--wrap=argon2id_hash_raw,--wrap=audit_emit)
tport_unit_test(test_auth_kube tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_kube_live tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_list tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_pages tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_recordings tport_auth PkgConfig::OATH)
tport_unit_test(test_auth_keep_clock tport_auth)
tport_unit_test(test_auth_puts tport_auth PkgConfig::OATH)
# The clock stands still: which step of the one-time codes it is depends on the test alone.
foreach(name test_auth_mfa test_auth_mfa_codes test_auth_mfa_watch test_auth_login_device)
  tport_unit_test(${name} tport_auth PkgConfig::OATH)
  target_link_options(${name} PRIVATE -Wl,--wrap=clock_wall,--wrap=clock_wall_ms,--wrap=clock_mono_ms
    -Wl,--wrap=oath_hotp_generate)
endforeach()
tport_unit_test(test_auth_account tport_auth PkgConfig::OATH)
target_link_options(test_auth_account PRIVATE -Wl,--wrap=clock_wall,--wrap=clock_wall_ms,--wrap=clock_mono_ms)
