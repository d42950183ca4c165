if(TARGET tport_protocols)
  tport_unit_test(test_mux tport_protocols)
  tport_fuzz(fuzz_first_bytes tport_protocols)
endif()
