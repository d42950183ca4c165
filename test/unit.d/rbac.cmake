foreach(name role label template predicate access rule option resource kube request explain parse)
  tport_unit_test(test_rbac_${name} tport_rbac)
  target_compile_definitions(test_rbac_${name} PRIVATE TPORT_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
endforeach()
foreach(name role predicate template glob)
  tport_fuzz(fuzz_${name} tport_rbac)
endforeach()

# Roles in words: expectations run by the program that people run theirs with.
file(GLOB access_cases CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/rbac/*.yaml)
add_test(NAME access_cases COMMAND tportctl access test --roles ${CMAKE_SOURCE_DIR}/conf/roles/dev2.yaml ${access_cases})
set_tests_properties(access_cases PROPERTIES LABELS unit)
