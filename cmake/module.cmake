# tport_module(NAME FOLDER_LIBS... ): a static library tport_NAME out of all .c files of the calling folder.
function(tport_module name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  if(NOT sources)
    return()
  endif()
  add_library(tport_${name} STATIC ${sources})
  target_link_libraries(tport_${name} PUBLIC tport_options ${ARGN})
endfunction()

# tport_unit_test(FILE LIBS...): test/unit/FILE.c as one cmocka program, run by ctest under the label "unit".
function(tport_unit_test name)
  add_executable(${name} ${CMAKE_SOURCE_DIR}/test/unit/${name}.c)
  target_link_libraries(${name} PRIVATE tport_options ${ARGN} cmocka)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 900)
endfunction()

# tport_fuzz(NAME LIBS...): test/fuzz/NAME.c (LLVMFuzzerTestOneInput) with corpus test/fuzz/corpus/NAME. With TPORT_FUZZ a
# libFuzzer program that ctest runs for some seconds (label "fuzz"); otherwise a program that replays the corpus
# (label "unit"), so that a harness can never stop compiling unnoticed.
set(TPORT_FUZZ_SECONDS 10 CACHE STRING "how long each fuzz harness runs in ctest")
function(tport_fuzz name)
  set(corpus ${CMAKE_SOURCE_DIR}/test/fuzz/corpus/${name})
  if(TPORT_FUZZ)
    add_executable(${name} ${CMAKE_SOURCE_DIR}/test/fuzz/${name}.c)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    set(new_inputs ${CMAKE_BINARY_DIR}/fuzz-found/${name})
    file(MAKE_DIRECTORY ${new_inputs})
    add_test(NAME ${name} COMMAND ${name} -max_total_time=${TPORT_FUZZ_SECONDS} -timeout=5 -rss_limit_mb=2048
      -print_final_stats=1 ${new_inputs} ${corpus})
    set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 300)
  else()
    add_executable(${name} ${CMAKE_SOURCE_DIR}/test/fuzz/${name}.c ${CMAKE_SOURCE_DIR}/test/fuzz/replay_main.c)
    add_test(NAME ${name} COMMAND ${name} ${corpus})
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 120)
  endif()
  target_link_libraries(${name} PRIVATE tport_options ${ARGN})
  # The entry point is declared by libFuzzer alone. Options of the file come last, those of the target would be undone.
  set_source_files_properties(${CMAKE_SOURCE_DIR}/test/fuzz/${name}.c PROPERTIES COMPILE_OPTIONS -Wno-missing-prototypes)
endfunction()
