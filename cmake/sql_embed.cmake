# koshel_embed_sql(OUT ROLE): writes OUT, a C++ source that holds the migrations of sql/ROLE in order.
function(koshel_embed_sql out role)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/sql/${role}/*.sql)
  list(SORT files)
  set(body "")
  foreach(file IN LISTS files)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    get_filename_component(stem ${file} NAME_WE)
    string(REGEX MATCH "^[0-9]+" number ${stem})
    math(EXPR number "${number}" OUTPUT_FORMAT DECIMAL)
    file(READ ${file} text)
    string(APPEND body "  {${number}, \"${stem}\", R\"koshelsql(${text})koshelsql\"},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${out} @ONLY CONTENT
"#include \"platform/migrations.hpp\"

namespace koshel::sql {
namespace {
constexpr platform::Migration kMigrations[] = {
@body@};
}  // namespace
std::span<const platform::Migration> ${role}_migrations() { return kMigrations; }
}  // namespace koshel::sql
")
endfunction()
