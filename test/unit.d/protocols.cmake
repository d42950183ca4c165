if(TARGET tport_protocols)
  tport_unit_test(test_mux tport_protocols)
  tport_unit_test(test_host_load tport_protocols)
  tport_fuzz(fuzz_first_bytes tport_protocols)
endif()
# It has its own copy of lock_view.c, with shorter times.
tport_unit_test(test_lock_view tport_http tport_crypt tport_core tport_base)
