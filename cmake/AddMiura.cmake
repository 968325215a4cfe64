# Wrappers around LLVM's and MLIR's macros: one library per folder, flags and
# precompiled header the same everywhere.

file(WRITE ${CMAKE_BINARY_DIR}/pch.cpp.in "")
configure_file(${CMAKE_BINARY_DIR}/pch.cpp.in ${CMAKE_BINARY_DIR}/pch.cpp COPYONLY)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # The form that ccache understands; Clang finds the .pch beside the header.
  set(CMAKE_CXX_COMPILE_OPTIONS_USE_PCH -include <PCH_HEADER>)
endif()
add_library(miura-pch STATIC ${CMAKE_BINARY_DIR}/pch.cpp)
llvm_update_compile_flags(miura-pch)
target_precompile_headers(miura-pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/pch.h)
# The precompiled header holds the build folder's path, so objects of two
# checkouts would never be equal to ccache; it is told to go by what the header
# was made from.
file(SHA256 ${PROJECT_SOURCE_DIR}/cmake/pch.h _pch_digest)
file(WRITE ${CMAKE_BINARY_DIR}/CMakeFiles/miura-pch.dir/cmake_pch.hxx.pch.sum
  "${_pch_digest} ${LLVM_PACKAGE_VERSION} ${CMAKE_BUILD_TYPE} ${MIURA_SANITIZE}")

# add_miura_mlir_library(Name a.cpp ... [DEPENDS target...] [LINK_LIBS ours...]
#                        [MLIR_LIBS upstream...] [NO_PCH])
# A library that uses MLIR. Upstream libraries must be named under MLIR_LIBS:
# under LINK_LIBS they would pull a second, static MLIR into the tools.
function(add_miura_mlir_library name)
  cmake_parse_arguments(ARG "NO_PCH" "" "DEPENDS;LINK_LIBS;MLIR_LIBS" ${ARGN})
  add_mlir_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS} DISABLE_INSTALL
    DEPENDS ${ARG_DEPENDS} LINK_LIBS PUBLIC ${ARG_LINK_LIBS})
  mlir_target_link_libraries(${name} PUBLIC MLIRIR ${ARG_MLIR_LIBS})
  set_property(GLOBAL APPEND PROPERTY MIURA_LIBS ${name})
  if(NOT ARG_NO_PCH)
    foreach(target ${name} obj.${name})
      if(TARGET ${target})
        target_precompile_headers(${target} REUSE_FROM miura-pch)
      endif()
    endforeach()
  endif()
endfunction()

# add_miura_library(Name a.cpp ... [LINK_LIBS ours...] [LLVM] [EXCEPTIONS])
# A library without MLIR. With LLVM it may use LLVM's support library; with
# EXCEPTIONS it is compiled so that it can catch what a dependency throws.
function(add_miura_library name)
  cmake_parse_arguments(ARG "LLVM;EXCEPTIONS" "" "LINK_LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  set_target_properties(${name} PROPERTIES
    ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
  if(NOT ARG_EXCEPTIONS)
    target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions>)
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_LINK_LIBS})
  if(ARG_LLVM)
    target_link_libraries(${name} PUBLIC LLVM)
  endif()
  set_property(GLOBAL APPEND PROPERTY MIURA_LIBS ${name})
endfunction()

# add_miura_tool(name main.cpp [LINK_LIBS ours...] [MLIR_LIBS upstream...])
function(add_miura_tool name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS;MLIR_LIBS" ${ARGN})
  add_llvm_executable(${name} ${ARG_UNPARSED_ARGUMENTS} DISABLE_LLVM_LINK_LLVM_DYLIB)
  llvm_update_compile_flags(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS})
  mlir_target_link_libraries(${name} PRIVATE MLIRIR ${ARG_MLIR_LIBS})
  target_link_libraries(${name} PRIVATE LLVM)
  # The precompiled header is of -fPIC code; CMake would say -fPIE here.
  target_compile_options(${name} PRIVATE -fPIC)
  # LLVM's macro defines LLVM_BUILD_STATIC, which g++ takes for another header.
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_precompile_headers(${name} REUSE_FROM miura-pch)
  endif()
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
  set_property(GLOBAL APPEND PROPERTY MIURA_TOOLS ${name})
endfunction()

# add_miura_unittest(Name a.cpp ... [LINK_LIBS ours...] [MLIR_LIBS upstream...])
# A GoogleTest program; lit runs it as part of check-miura.
function(add_miura_unittest name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS;MLIR_LIBS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  llvm_update_compile_flags(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS} GTest::gtest GTest::gtest_main)
  if(ARG_MLIR_LIBS)
    mlir_target_link_libraries(${name} PRIVATE ${ARG_MLIR_LIBS})
  endif()
  target_link_libraries(${name} PRIVATE LLVM)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/Unit)
  set_property(GLOBAL APPEND PROPERTY MIURA_UNIT_TESTS ${name})
endfunction()
