# Work whose instructions test/count/test_count.py counts. At full speed it also shows that nothing stalls: a relay whose window had
# grown once waited for ever for a queue that was not full.
add_executable(count_work ${CMAKE_SOURCE_DIR}/test/count/work.c)
target_link_libraries(count_work PRIVATE tport_options tport_tunnel tport_tls tport_http tport_crypt)
foreach(work "handshakes 50" "up 200" "down 200" "requests 2000")
  separate_arguments(words UNIX_COMMAND ${work})
  list(GET words 0 name)
  add_test(NAME count_work_${name} COMMAND count_work ${words})
  set_tests_properties(count_work_${name} PROPERTIES LABELS unit TIMEOUT 120)
endforeach()
