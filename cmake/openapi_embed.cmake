# koshel_embed_openapi(OUT): writes OUT, a C++ source that holds docs/openapi.yaml.
function(koshel_embed_openapi out)
  set(file ${CMAKE_SOURCE_DIR}/docs/openapi.yaml)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} text)
  # A string literal has an upper bound in the standard, so the text comes in pieces.
  string(LENGTH "${text}" length)
  set(body "")
  set(at 0)
  while(at LESS length)
    string(SUBSTRING "${text}" ${at} 8000 piece)
    string(APPEND body "    R\"openapi(${piece})openapi\"\n")
    math(EXPR at "${at} + 8000")
  endwhile()
  file(CONFIGURE OUTPUT ${out} @ONLY CONTENT
"#include \"coordinator/io/api/api.hpp\"

namespace koshel::coordinator {
std::string_view openapi_text() {
  static constexpr std::string_view kText =
@body@      ;
  return kText;
}
}  // namespace koshel::coordinator
")
endfunction()
