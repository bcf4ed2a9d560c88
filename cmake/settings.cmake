# Compiler settings shared by every target, and koshel_library(), which states a target's exact links.

find_package(Boost 1.74 REQUIRED COMPONENTS json)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PQXX REQUIRED IMPORTED_TARGET libpqxx)
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(LDAP REQUIRED IMPORTED_TARGET ldap)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(CLI11 REQUIRED)

find_program(CCACHE ccache)
if(CCACHE)
  # What was compiled in one clone is found again in another, precompiled headers included. Comments count: without
  # them a precompiled header is found as it was before one changed, and `#pragma once` takes the file for another.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_COMMENTS=1
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
endif()
find_program(MOLD mold)

add_library(koshel_settings INTERFACE)
target_include_directories(koshel_settings INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(koshel_settings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual)
# clang builds what is fuzzed, and nothing that is installed: what it warns of is no rule.
target_compile_options(koshel_settings INTERFACE $<IF:$<CXX_COMPILER_ID:Clang>,-w,-Werror>)
target_compile_definitions(koshel_settings INTERFACE
  KOSHEL_VERSION="${PROJECT_VERSION}"
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION)
# g++ warns of its own coroutine frames and of inlined library code; both are false there.
target_compile_options(koshel_settings INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-mismatched-new-delete -Wno-restrict
  -Wno-stringop-overflow -Wno-array-bounds -fcoroutines
  -fpch-preprocess>)  # as ccache needs it
if(MOLD)
  target_link_options(koshel_settings INTERFACE -fuse-ld=mold)
endif()
if(KOSHEL_SANITIZE)
  target_compile_options(koshel_settings INTERFACE
    -fsanitize=${KOSHEL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1
    # What the address sanitizer, or the processor, sees as well; these double the time of a build.
    -fno-sanitize=null,alignment,object-size,vptr)
  target_link_options(koshel_settings INTERFACE -fsanitize=${KOSHEL_SANITIZE})
  if(KOSHEL_SANITIZE MATCHES thread)
    # The thread sanitizer does not understand fences; Asio's queues have locks besides.
    target_compile_definitions(koshel_settings INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()

# koshel_library(NAME SOURCES ... LINKS ...): LINKS is the whole of what NAME may use.
function(koshel_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC koshel_settings ${ARG_LINKS})
endfunction()
