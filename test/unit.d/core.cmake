tport_unit_test(test_base tport_base)
tport_unit_test(test_core_master tport_core tport_base)
tport_unit_test(test_core tport_core)
tport_fuzz(fuzz_rpc tport_core)
