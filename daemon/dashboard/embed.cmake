# SPDX-License-Identifier: Apache-2.0
# cmake -DHTML=FILE [-DGZIP=FILE] -DOUTPUT=FILE.cpp -P embed.cmake
# A page as byte arrays, with its ETag and the policy that allows its one script and its one style by their hashes.

# Hexadecimal text to base64: CMake has the one, browsers want the other.
function(base64 hex out)
    set(letters "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    string(LENGTH ${hex} digits)
    math(EXPR rest "${digits} % 6")
    set(padded "${hex}")
    set(pad "")
    if(rest EQUAL 2)
        set(padded "${hex}0000")
        set(pad "==")
    elseif(rest EQUAL 4)
        set(padded "${hex}00")
        set(pad "=")
    endif()
    string(REGEX MATCHALL "......" groups "${padded}")
    set(text "")
    foreach(group IN LISTS groups)
        foreach(shift 18 12 6 0)
            math(EXPR index "(0x${group} >> ${shift}) & 63")
            string(SUBSTRING ${letters} ${index} 1 letter)
            string(APPEND text ${letter})
        endforeach()
    endforeach()
    string(LENGTH "${text}" length)
    string(LENGTH "${pad}" cut)
    math(EXPR length "${length} - ${cut}")
    string(SUBSTRING "${text}" 0 ${length} text)
    set(${out} "${text}${pad}" PARENT_SCOPE)
endfunction()

# 'sha256-...' of what stands in the one element <tag>.
function(hash_of tag out)
    string(FIND "${html}" "<${tag}>" begin)
    string(FIND "${html}" "</${tag}>" end)
    string(FIND "${html}" "<${tag}>" last REVERSE)
    if(begin EQUAL -1 OR end EQUAL -1 OR NOT begin EQUAL last)
        message(FATAL_ERROR "${HTML}: exactly one <${tag}> is expected")
    endif()
    string(LENGTH "<${tag}>" open)
    math(EXPR begin "${begin} + ${open}")
    math(EXPR length "${end} - ${begin}")
    string(SUBSTRING "${html}" ${begin} ${length} inside)
    string(SHA256 hex "${inside}")
    base64(${hex} text)
    set(${out} "'sha256-${text}'" PARENT_SCOPE)
endfunction()

function(array file name out)
    file(READ "${file}" bytes HEX)
    string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    set(${out} "constexpr unsigned char ${name}[] = {\n${bytes}};\n" PARENT_SCOPE)
endfunction()

file(READ "${HTML}" html)
file(SHA256 "${HTML}" digest)
hash_of(script script)
hash_of(style style)
array("${HTML}" html_bytes html_array)
set(gzip_array "")
set(gzip "{}")
if(GZIP)
    array("${GZIP}" gzip_bytes gzip_array)
    set(gzip "{reinterpret_cast<const char*>(gzip_bytes), sizeof gzip_bytes}")
endif()
# No inline attribute, no other origin, no frame, no form that leaves, no text that becomes markup.
string(CONCAT policy "default-src 'none'; script-src ${script}; style-src ${style}; connect-src 'self'; img-src data:; "
       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
file(WRITE "${OUTPUT}" "// Made by daemon/dashboard/embed.cmake.
#include \"dashboard/page.hpp\"

namespace mustafar::daemon {

namespace {

${html_array}
${gzip_array}
} // namespace

const Page dashboard_page = {
    {reinterpret_cast<const char*>(html_bytes), sizeof html_bytes},
    ${gzip},
    \"${digest}\",
    \"${policy}\"};

} // namespace mustafar::daemon
")
