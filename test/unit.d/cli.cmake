foreach(part table command labels sni ssh_argv profile player)
  tport_unit_test(test_cli_${part} tport_cli_tport)
endforeach()
tport_fuzz(fuzz_player tport_cli_tport)
