tport_unit_test(test_base tport_base)
tport_unit_test(test_core_master tport_core tport_base)
tport_unit_test(test_core tport_core)
tport_unit_test(test_core_rpc tport_core)
# The clock is the test's.
tport_unit_test(test_core_crowd tport_core)
target_link_options(test_core_crowd PRIVATE -Wl,--wrap=timer_new,--wrap=timer_start,--wrap=timer_is_active,--wrap=timer_free
  -Wl,--wrap=mem_give_back)
tport_fuzz(fuzz_rpc tport_core)
tport_fuzz(fuzz_rpc_skim tport_core)
