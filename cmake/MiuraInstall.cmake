# `cmake --install`: headers, archives, tools, plugin and a CMake package. The
# tree may be moved: tools find the runtime beside them, the package its own
# files, and the ONNX library, which no distribution has, comes along.

include(CMakePackageConfigHelpers)
set(_package lib/cmake/Miura)

# What users of the archives need beside them.
add_library(MiuraHeaders INTERFACE)
target_include_directories(MiuraHeaders INTERFACE $<INSTALL_INTERFACE:include>)
target_include_directories(MiuraHeaders SYSTEM INTERFACE
  "$<INSTALL_INTERFACE:$<TARGET_PROPERTY:MiuraExternal::LLVM,INTERFACE_INCLUDE_DIRECTORIES>>")
target_compile_features(MiuraHeaders INTERFACE cxx_std_17)

get_property(_libs GLOBAL PROPERTY MIURA_LIBS)
set(_installed MiuraHeaders MiuraRuntime)
foreach(_lib ${_libs})
  get_target_property(_source ${_lib} SOURCE_DIR)
  if(_source MATCHES "^${PROJECT_SOURCE_DIR}/lib/") # and not the tests'
    target_link_libraries(${_lib} PUBLIC MiuraHeaders)
    list(APPEND _installed ${_lib})
  endif()
endforeach()
# All that a compiler wants: the dialect, files, passes and pipelines.
add_library(Miura INTERFACE)
target_link_libraries(Miura INTERFACE MiuraPipelines MiuraImportONNX MiuraExportONNX)
foreach(_target Miura ${_installed})
  # Miura::IR, Miura::Pipelines; Miura::Miura is the whole.
  string(REGEX REPLACE "^Miura(.+)" "\\1" _name ${_target})
  set_target_properties(${_target} PROPERTIES EXPORT_NAME ${_name})
endforeach()
install(TARGETS Miura ${_installed} EXPORT MiuraTargets ARCHIVE DESTINATION lib)

get_property(_tools GLOBAL PROPERTY MIURA_TOOLS)
foreach(_tool ${_tools})
  get_target_property(_source ${_tool} SOURCE_DIR)
  if(NOT _source MATCHES "^${PROJECT_SOURCE_DIR}/tools/")
    continue()
  endif()
  set_target_properties(${_tool} PROPERTIES
    INSTALL_RPATH "$ORIGIN/../lib;${LLVM_LIBRARY_DIR}")
  install(TARGETS ${_tool} RUNTIME DESTINATION bin LIBRARY DESTINATION lib)
endforeach()

install(DIRECTORY include/ ${PROJECT_BINARY_DIR}/include/ DESTINATION include
  FILES_MATCHING PATTERN "*.h" PATTERN "*.td" PATTERN "*.inc"
  PATTERN CMakeFiles EXCLUDE)
install(DIRECTORY python/miura DESTINATION lib/python
  FILES_MATCHING PATTERN "*.py" PATTERN __pycache__ EXCLUDE)
install(FILES LICENSE DESTINATION share/doc/miura)
get_filename_component(_onnx "${ONNX_DIR}/../../.." ABSOLUTE)
install(DIRECTORY ${_onnx}/ DESTINATION lib/miura/onnx)

configure_package_config_file(cmake/MiuraConfig.cmake.in MiuraConfig.cmake
  INSTALL_DESTINATION ${_package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/MiuraConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(EXPORT MiuraTargets NAMESPACE Miura:: DESTINATION ${_package})
install(FILES
  ${PROJECT_BINARY_DIR}/MiuraConfig.cmake
  ${PROJECT_BINARY_DIR}/MiuraConfigVersion.cmake
  cmake/MiuraLibraries.cmake
  DESTINATION ${_package})
install(DIRECTORY cmake/protobuf DESTINATION ${_package})
