tport_unit_test(test_session_tables tport_session)
tport_unit_test(test_session_asciicast tport_recording)
tport_unit_test(test_recording_sizes tport_recording)
tport_fuzz(fuzz_asciicast tport_recording)
tport_unit_test(test_session_modes tport_session)
tport_fuzz(fuzz_modes tport_session)
# tport-session with a half that was taken over, for test/blackbox/test_session_halves.py.
add_executable(hostile_half ${CMAKE_SOURCE_DIR}/test/unit/hostile_half.c)
target_link_libraries(hostile_half PRIVATE tport_options tport_session ${PAM_LIBRARY})
